// SPDX-License-Identifier: BSD-2-Clause
// Acknowledgements in a row (straight_row, net/straight.c): all but the last are passed over, and nothing is that says
// anything which a later one does not.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c tests/host/netbed_digest.c kernel/netdev_list.c
// SOURCES: tests/host/netbed_park.c kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/pmm.h"
#include "kernel/vmm.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "net/straight.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "netbed_park.h"
#include "shim.h"
#include "tcp_straight.h"

#define ROW	6
#define TYPE	12
#define TOS	15
#define IP_LEN	16
#define IP_PART 20
#define PROTO	23
#define IP_SUM	24
#define SOURCE	26
#define LENGTH6 18
#define NEXT6	20
#define SOURCE6 22
// Over both, from where TCP's header begins.
static bool ipv6;
#define TCP	(ipv6 ? 54U : 34U)
#define PORTS	(TCP + 0)
#define SEQ	(TCP + 4)
#define ACKNO	(TCP + 8)
#define OFFSET	(TCP + 12)
#define FLAGS	(TCP + 13)
#define WINDOW	(TCP + 14)
#define SUM	(TCP + 16)
#define OPTIONS (TCP + 20)
#define PLAIN	(TCP + 20) // bytes of the frame
#define TIMES	(TCP + 32)

static struct page *frames; // of a page each
static uint8_t *data[ROW];
static const uint8_t body[10 * 1448];
static struct rxbuf bufs[ROW];
static struct netbuf row[ROW];
static struct bed_peer *from;

static void put_ip(uint8_t *f, uint32_t bytes, unsigned n)
{
	struct netif *netif = &iface_first()->netif;
	uint32_t mine = ip4_addr_get_u32(netif_ip4_addr(netif));

	if (ipv6) {
		bed_put16(f + TYPE, 0x86dd);
		f[14] = 0x60;
		bed_put16(f + LENGTH6, (uint16_t)(bytes - TCP));
		f[NEXT6] = 6;
		f[NEXT6 + 1] = (uint8_t)(64 + n);
		memcpy(f + SOURCE6, ip_2_ip6(&from->pcb->remote_ip)->addr, 16);
		memcpy(f + SOURCE6 + 16, ip_2_ip6(&from->pcb->local_ip)->addr, 16);
		return;
	}
	bed_put16(f + TYPE, 0x0800);
	f[14] = 0x45;
	bed_put16(f + IP_LEN, (uint16_t)(bytes - 14));
	bed_put16(f + 18, (uint16_t)n); // identification
	bed_put16(f + IP_PART, 0x4000);
	f[22] = 64;
	f[PROTO] = 6;
	memcpy(f + SOURCE, (uint8_t[]){10, 0, 0, 2}, 4);
	memcpy(f + SOURCE + 4, &mine, 4);
}

// From the peer to us, port 80, each acknowledging 1,448 bytes more than the one before. The connection has sent none,
// but that is not what is asked here.
static void make(uint32_t bytes)
{
	uint32_t first = 0xfffff000;

	from->pcb->lastack = first - 1;
	for (unsigned n = 0; n < ROW; n++) {
		uint8_t *f = data[n];
		memset(f, 0, RXBUF_BYTES);
		memcpy(f, iface_first()->netif.hwaddr, 6);
		memset(f + 6, 2, 6);
		put_ip(f, bytes, n);
		bed_put16(f + PORTS, from->port);
		bed_put16(f + PORTS + 2, 80);
		bed_put16(f + ACKNO,
			  (uint16_t)((first + n * 1448) >> 16)); // and over the end of the numbers
		bed_put16(f + ACKNO + 2, (uint16_t)(first + n * 1448));
		f[OFFSET] = (uint8_t)((bytes - PORTS) / 4 << 4);
		f[FLAGS] = TCP_ACK;
		bed_put16(f + WINDOW, (uint16_t)(500 - n));
		if (bytes == TIMES)
			memcpy(f + OPTIONS, (uint8_t[]){1, 1, 8, 10, 0, 0, 0, (uint8_t)n}, 8);
		bed_seal(f, bytes);
		bufs[n].data = f;
		row[n] =
		    (struct netbuf){.cookie = &bufs[n], .addr = virt_to_phys(f), .bytes = bytes};
	}
}

static uint32_t in_a_row(uint32_t count)
{
	return straight_row(&iface_first()->netif, row, count);
}

static uint32_t passed(uint32_t bytes)
{
	for (unsigned n = 0; n < ROW; n++)
		row[n].bytes = bytes;
	return in_a_row(ROW);
}

static void all_but_the_last_are_passed_over_and_counted(void **state)
{
	uint64_t before = tcp_straight_in;

	make(PLAIN);
	assert_int_equal(passed(PLAIN), ROW - 1);
	make(TIMES);
	assert_int_equal(passed(TIMES), ROW - 1);
	assert_int_equal(passed(TIMES + 6), ROW - 1); // a short frame's padding
	assert_int_equal(tcp_straight_in - before, 3 * (ROW - 1));
	assert_int_equal(in_a_row(2), 1);
	assert_int_equal(in_a_row(1), 0);
	row[4].bytes++; // another length
	assert_int_equal(in_a_row(ROW), 3);
}

static void nothing_is_passed_over_for_one_that_is_not_sound(void **state)
{
	const uint8_t places[] = {14,
				  ipv6 ? LENGTH6 : IP_LEN,
				  ipv6 ? SOURCE6 + 20 : IP_SUM,
				  ACKNO + 3,
				  WINDOW,
				  SUM,
				  OPTIONS + 9};

	for (unsigned i = 0; i < sizeof(places); i++) {
		make(TIMES);
		data[ROW - 1][places[i]] ^= 0x10;
		// What makes it look like no acknowledgement at all ends the row before it.
		assert_true(passed(TIMES) == 0 || passed(TIMES) == ROW - 2);
		make(TIMES);
		data[2][places[i]] ^= 0x10;
		assert_true(passed(TIMES) == 1 || passed(TIMES) == ROW - 1);
	}
	make(PLAIN);
	data[ROW - 1][SUM] ^= 1;
	assert_int_equal(passed(PLAIN), 0);
	make(PLAIN);
	for (unsigned n = 0; n + 1 < ROW; n++) // whatever becomes of those in front
		data[n][SUM] ^= 1;
	assert_int_equal(passed(PLAIN), ROW - 1);
	assert_int_equal(passed(PLAIN - 1), 0);
}

// What ends a row, in a frame that is sound: where, and what is changed there.
struct end {
	const char *what;
	unsigned at;
	uint8_t change;
};
static const struct end ends4[] = {
    {"another protocol", PROTO, 6 ^ 17},    {"a part of a packet", IP_PART, 0x20},
    {"a mark of congestion", TOS, 3},	    {"options in the IP header", 14, 1},
    {"a length of its own", IP_LEN + 1, 4}, {"another peer", SOURCE + 3, 1},
};
static const struct end ends6[] = {
    {"another protocol", NEXT6, 6 ^ 17},
    {"a part of a packet", NEXT6, 6 ^ 44},
    {"an extension header", NEXT6, 6 ^ 60},
    {"a mark of congestion", 15, 0x30},
    {"another flow label", 17, 1},
    {"another version", 14, 0x20},
    {"a length of its own", LENGTH6 + 1, 4},
    {"another peer", SOURCE6 + 3, 1},
    {"another peer of this network", SOURCE6 + 15, 1},
    {"another address of ours", SOURCE6 + 31, 1},
};
static const struct end ends_tcp[] = {
    {"another port", 1, 1},
    {"another port of ours", 3, 1},
    {"other data in front of it", 4, 1},
    {"a byte more in front of it", 7, 1},
    {"FIN", 13, TCP_FIN},
    {"SYN", 13, TCP_SYN},
    {"RST", 13, TCP_RST},
    {"PSH", 13, TCP_PSH},
    {"no ACK", 13, TCP_ACK},
    {"URG", 13, TCP_URG},
    {"an echo of congestion", 13, 0x40},
    {"a shorter header", 12, 0x10},
    {"SACK blocks", 22, 8 ^ 5},
};

static void all_end_the_row(const struct end *ends, unsigned count, unsigned from)
{
	for (const struct end *end = ends; end < ends + count; end++)
		for (unsigned n = 0; n < ROW; n++) {
			uint32_t passed_over;
			make(TIMES);
			data[n][from + end->at] ^= end->change;
			bed_seal(data[n], TIMES);
			passed_over = passed(TIMES);
			if (passed_over != (n ? n - 1 : 0))
				fail_msg("%s in frame %u: %u passed over", end->what, n,
					 passed_over);
		}
}

static void what_says_anything_else_ends_the_row(void **state)
{
	if (ipv6)
		all_end_the_row(ends6, ARRAY_SIZE(ends6), 0);
	else
		all_end_the_row(ends4, ARRAY_SIZE(ends4), 0);
	all_end_the_row(ends_tcp, ARRAY_SIZE(ends_tcp), TCP);
}

static void what_acknowledges_no_more_ends_the_row(void **state)
{
	make(TIMES);
	memcpy(data[3] + ACKNO, data[2] + ACKNO, 4); // a duplicate: it tells of a loss
	bed_seal(data[3], TIMES);
	assert_int_equal(passed(TIMES), 2);
	memcpy(data[3] + ACKNO, data[1] + ACKNO, 4);
	bed_seal(data[3], TIMES);
	assert_int_equal(passed(TIMES), 2);
}

static uint32_t passed_by(tcpflags_t flag)
{
	uint32_t count;

	make(PLAIN);
	tcp_set_flags(from->pcb, flag);
	count = passed(PLAIN);
	tcp_clear_flags(from->pcb, flag);
	return count;
}

static void nothing_is_passed_over_of_a_connection_that_lacks_something(void **state)
{
	assert_int_equal(passed_by(TF_RARE), ROW - 1); // nothing but a suspicion
	assert_int_equal(passed_by(TF_INFR), 0); // it sends again: what each acknowledges matters
	assert_int_equal(passed_by(TF_RTO), 0);
	make(PLAIN);
	from->pcb->lastack++; // the first says what was known, and may tell of a gap
	assert_int_equal(passed(PLAIN), 0);
	make(PLAIN);
	from->pcb->state = FIN_WAIT_1;
	assert_int_equal(passed(PLAIN), 0);
	from->pcb->state = ESTABLISHED;
	for (unsigned n = 0; n < ROW; n++) { // nobody's
		bed_put16(data[n] + PORTS, (uint16_t)(from->port + 1));
		bed_seal(data[n], PLAIN);
	}
	assert_int_equal(passed(PLAIN), 0);
}

// Acknowledgements in one batch: the first, one that is the second in a row, and a row; then a row from the first on.
static void a_row_of_a_connection_is_one_acknowledgement(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 60000, 1);
	uint32_t iss = bed_iss(peer);

	assert_int_equal(tcp_write(peer->pcb, body, sizeof(body), TCP_WRITE_FLAG_COPY), ERR_OK);
	peer->pcb->cwnd = BIT(20);
	tcp_output(peer->pcb);
	bed.passed_over = 0;
	bed.batch = true;
	for (unsigned n = 1; n <= 10; n++) {
		peer->ack = iss + n * 1448;
		peer->window = (uint16_t)(50000 + n);
		bed_send(peer, TCP_ACK, "", 0);
		if (n != 5)
			continue;
		bed_batch_end();
		assert_int_equal(bed.passed_over, 2);
		assert_int_equal(peer->pcb->lastack, iss + 5 * 1448);
	}
	bed.batch = false;
	bed_batch_end();
	assert_int_equal(bed.passed_over, 2 + 4);
	assert_null(peer->pcb->unacked);
	assert_int_equal(peer->pcb->lastack, iss + 14480);
	assert_int_equal(peer->pcb->snd_wnd, 50010);
}

static void serve(struct tcp_pcb *pcb)
{
	from->pcb = pcb;
}

// A record becomes a connection again for what is sound only: anybody can send the other.
static void a_row_that_is_not_sound_wakes_nobody(void **state)
{
	uint32_t lastack = from->pcb->lastack;

	bed_park_start(serve);
	make(PLAIN);
	from->pcb->lastack = lastack;
	shim_advance(2 * NS_PER_SEC);
	assert_int_equal(bed_park_of(from), TCP_PARKED);
	data[ROW - 1][SUM] ^= 1;
	assert_int_equal(in_a_row(ROW), 0);
	assert_true(bed_park.parked);
	data[ROW - 1][SUM] ^= 1;
	in_a_row(ROW);
	assert_false(bed_park.parked);
}

static void connect_to_peer(void)
{
	frames = pmm_alloc(3);
	assert_non_null(frames);
	for (unsigned n = 0; n < ROW; n++)
		data[n] = page_virt(frames + n);
	bed.ipv6 = ipv6;
	from = bed_connect(1460, 60000);
	iface_first()->rows = false;
}

static int over_ipv4(void **state)
{
	ipv6 = false;
	bed_setup(state);
	connect_to_peer();
	return 0;
}

static int over_ipv6(void **state)
{
	ipv6 = true;
	bed_setup(state);
	connect_to_peer();
	return 0;
}

static int teardown(void **state)
{
	pmm_free(frames, 3);
	return bed_teardown(state);
}

#define BOTH(f)                                                                                    \
	cmocka_unit_test_setup_teardown(f, over_ipv4, teardown),                                   \
	    cmocka_unit_test_setup_teardown(f, over_ipv6, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(all_but_the_last_are_passed_over_and_counted),
	    BOTH(nothing_is_passed_over_for_one_that_is_not_sound),
	    BOTH(what_says_anything_else_ends_the_row),
	    BOTH(what_acknowledges_no_more_ends_the_row),
	    BOTH(nothing_is_passed_over_of_a_connection_that_lacks_something),
	    BOTH(a_row_of_a_connection_is_one_acknowledgement),
	    BOTH(a_row_that_is_not_sound_wakes_nobody),
	};
	return cmocka_run_group_tests_name("straight row", tests, bed_group_setup,
					   bed_group_teardown);
}
