// SPDX-License-Identifier: BSD-2-Clause
// Paths that take less than the link (tcp_path.h): a router that says so, twice; one that says nothing; messages
// that are forged or make no sense; what is remembered, and for how long. In simulated time, with cards that cut
// and cards that do not.
// SOURCES: tests/host/lossnet.c tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lossnet.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "shim.h"
#include "tcp_path.h"

#define KB	1024U
#define HEADERS 40U

static uint64_t lowered(const char *why)
{
	return kstat_get("pagewire_tcp_path_mtu_lowered_total", why);
}

static uint64_t messages(const char *what)
{
	return kstat_get("pagewire_tcp_path_mtu_messages_total", what);
}

// ---- a router ---------------------------------------------------------------------------------------

// What one message says; what the wire has, but for what a test changes.
struct message {
	uint32_t seq;
	uint16_t source, dest, mtu, length; // ports of the packet that was too long
	uint8_t protocol, code;
	bool broken; // its checksum
};

static uint16_t sum(const uint8_t *data, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static void put_ip(uint8_t *ip, uint8_t last_from, uint8_t last_to, uint16_t length,
		   uint8_t protocol)
{
	const uint8_t header[] = {
	    0x45, 0, length >> 8, length & 0xff, 0,  0, 0x40, 0,      64, protocol, 0, 0,
	    10,	  0, 0,		  last_from,	 10, 0, 0,    last_to};

	memcpy(ip, header, sizeof(header));
	bed_put16(ip + 10, sum(ip, sizeof(header)));
}

static void say(const struct message *m)
{
	uint8_t frame[14 + 20 + 8 + 20 + 8] = {0x52, 0x54, 0, 0, 0, 1, 0x52,
					       0x54, 0,	   0, 0, 9, 8, 0};
	uint8_t *icmp = frame + 34, *tcp = icmp + 28;

	put_ip(frame + 14, 254, 1, sizeof(frame) - 14, 1);
	put_ip(icmp + 8, 1, 2, m->length, m->protocol);
	icmp[0] = 3;
	icmp[1] = m->code;
	bed_put16(icmp + 6, m->mtu);
	bed_put16(tcp, m->source);
	bed_put16(tcp + 2, m->dest);
	bed_put16(tcp + 4, m->seq >> 16);
	bed_put16(tcp + 6, (uint16_t)m->seq);
	bed_put16(icmp + 2, sum(icmp, sizeof(frame) - 34) ^ m->broken);
	bed_receive(frame, sizeof(frame));
}

static struct message about(const struct bed_segment *segment, uint16_t mtu)
{
	return (struct message){.seq = segment->seq,
				.source = segment->source,
				.dest = segment->dest,
				.mtu = mtu,
				.length = (uint16_t)(HEADERS + segment->len),
				.protocol = 6,
				.code = 4};
}

static struct {
	uint32_t mtu, later_mtu, later; // the later one from so many segments on
	bool silent, old;		// says nothing; or does not say how much there is room for
	uint32_t longest, too_long;	// packets that came through; that did not
} router;

static bool passes(struct lossnet *net, const struct bed_segment *segment)
{
	uint32_t headers = HEADERS + (net->times ? 12 : 0), packet = headers + segment->len;
	bool whole = segment->packet->frame[20] & 0x40; // DF
	uint32_t mtu = router.later && net->segments > router.later ? router.later_mtu : router.mtu;
	struct message m = about(segment, router.old ? 0 : (uint16_t)mtu);

	m.length = (uint16_t)packet;
	if (packet <= mtu || !whole) {
		router.longest = MAX(router.longest, packet);
		return false;
	}
	router.too_long++;
	if (!router.silent)
		say(&m);
	return true;
}

static uint32_t transfer(struct lossnet *net, uint32_t bytes)
{
	uint32_t ms;

	router.longest = router.too_long = 0;
	net->rtt = 20;
	net->drops = passes;
	lossnet_open(net);
	ms = lossnet_transfer(net, bytes);
	print_message("# %u KB in %u ms: %u segments, %u too long, %lu time-outs, %lu KB again\n",
		      bytes / KB, ms, net->segments, router.too_long, net->timeouts,
		      net->resent_bytes / KB);
	return ms;
}

// Nothing is remembered any more.
static void forget_paths(void)
{
	shim_advance((TCP_PATH_AGE_MS + 1000) * NS_PER_MS);
	memset(&router, 0, sizeof(router));
}

// Each kind of receiver and of card.
#define FOR_EACH_NET(net)                                                                          \
	for (unsigned kind = 0; kind < 8; bed_tso(0), forget_paths(), kind++)                      \
		for (struct lossnet                                                                \
			 net = {.sack = kind & 1, .times = kind & 2, .duplicate_sack = kind & 1},  \
			 *once = &net;                                                             \
		     once && (bed_tso(kind & 4 ? 65535 : 0), true); once = NULL)

static void all_tcp_over_ip4_says_that_it_is_not_to_be_cut(void **state)
{
	FOR_EACH_NET(net)
	{
		router.mtu = 1499;
		router.silent = true;
		transfer(&net, 64 * KB);
		assert_true(router.too_long > 0);
		lossnet_close(&net);
	}
}

// What was on its way is sent again at once, without a time-out, and congestion has nothing to do with it.
static void a_router_that_says_so_is_believed_at_once(void **state)
{
	FOR_EACH_NET(net)
	{
		uint64_t before = lowered("why=\"message\"");
		uint32_t ms;

		router.mtu = 1400;
		ms = transfer(&net, 1024 * KB);
		assert_int_equal(router.longest, 1400);
		assert_in_range(router.too_long, 1, 30);
		assert_int_equal(net.timeouts + net.fast, 0);
		assert_int_equal(net.peer->pcb->w_max, 0); // never made smaller
		assert_int_equal(net.peer->pcb->ssthresh, TCP_SND_BUF_MAX);
		assert_int_equal(lowered("why=\"message\"") - before, 1);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), 1400);
		assert_in_range(net.repeated, 0, 2);
		assert_true(ms < 400);
		lossnet_close(&net);
	}
}

static void a_path_that_gets_smaller_twice(void **state)
{
	FOR_EACH_NET(net)
	{
		router.mtu = 1400;
		router.later = 300;
		router.later_mtu = 1006;
		transfer(&net, 1024 * KB);
		assert_int_equal(net.timeouts, 0);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), 1006);
		lossnet_close(&net);
	}
}

// RFC 1191, 7: tried are sizes that links have.
static void a_router_that_does_not_say_how_much(void **state)
{
	FOR_EACH_NET(net)
	{
		router.mtu = 1450;
		router.old = true;
		transfer(&net, 256 * KB);
		assert_int_equal(net.timeouts, 0);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), 1006);
		lossnet_close(&net);
	}
}

static void a_path_too_small_may_cut_packets(void **state)
{
	FOR_EACH_NET(net)
	{
		router.mtu = 296;
		transfer(&net, 64 * KB);
		assert_int_equal(net.timeouts, 0);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), TCP_PATH_LEAST4);
		assert_int_equal(router.longest, TCP_PATH_LEAST4);
		lossnet_close(&net);
	}
}

static void new_connections_begin_with_what_is_known_for_ten_minutes(void **state)
{
	FOR_EACH_NET(first)
	{
		struct lossnet next = first, later = first;

		router.mtu = 1400;
		transfer(&first, 64 * KB);
		assert_true(router.too_long > 0);
		lossnet_close(&first);
		assert_int_equal(kstat_get("pagewire_tcp_path_mtu_entries", NULL), 1);
		transfer(&next, 64 * KB);
		assert_int_equal(router.too_long, 0);
		assert_int_equal(router.longest, 1400);
		lossnet_close(&next);
		shim_advance(TCP_PATH_AGE_MS * NS_PER_MS);
		transfer(&later, 64 * KB);
		assert_true(router.too_long > 0);
		lossnet_close(&later);
	}
}

// Two time-outs and a second, and what got through then is where the next connection begins.
static void silence_is_asked_with_smaller_segments(void **state)
{
	FOR_EACH_NET(net)
	{
		struct lossnet next = net;
		uint64_t before = lowered("why=\"silence\"");

		router.mtu = 1300;
		router.silent = true;
		transfer(&net, 256 * KB);
		assert_int_equal(net.timeouts, 3);
		assert_int_equal(lowered("why=\"silence\"") - before, 1);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), 1280);
		lossnet_close(&net);
		transfer(&next, 256 * KB);
		assert_int_equal(next.timeouts + router.too_long, 0);
		lossnet_close(&next);
	}
}

static void a_silent_path_that_takes_even_less(void **state)
{
	FOR_EACH_NET(net)
	{
		router.mtu = 600;
		router.silent = true;
		transfer(&net, 64 * KB);
		assert_int_equal(net.timeouts, 5);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), 576);
		lossnet_close(&net);
	}
}

static bool nothing_passes(struct lossnet *net, const struct bed_segment *segment)
{
	return net->now_ms < router.later;
}

// A connection whose long segments got through finds its path again a second later.
static void a_broken_path_is_no_small_one(void **state)
{
	FOR_EACH_NET(net)
	{
		uint16_t mtu;

		router.mtu = 1500;
		transfer(&net, 256 * KB);
		mtu = tcp_path_mtu(net.peer->pcb);
		assert_int_equal(mtu, 1500);
		router.later = (uint32_t)net.now_ms + 1000;
		net.drops = nothing_passes;
		lossnet_transfer(&net, 256 * KB);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), mtu);
		assert_int_equal(kstat_get("pagewire_tcp_path_mtu_entries", NULL), 0);
		lossnet_close(&net);
	}
}

// RFC 3522: its answers were only late, and a time stamp says so.
static void a_path_that_stands_still_for_a_moment_is_no_small_one(void **state)
{
	FOR_EACH_NET(net)
	{
		uint64_t before = lowered("why=\"silence\""),
			 restored = kstat_get("pagewire_tcp_path_mtu_restored_total", NULL);

		if (!net.times)
			continue;
		router.mtu = 1500;
		net.spike_at = 10;
		net.spike_ms = 2000;
		transfer(&net, 64 * KB);
		assert_true(net.timeouts >= 3);
		assert_int_equal(tcp_path_mtu(net.peer->pcb), 1500);
		assert_int_equal(lowered("why=\"silence\"") - before,
				 kstat_get("pagewire_tcp_path_mtu_restored_total", NULL) -
				     restored);
		assert_int_equal(tcp_path_entries, 0);
		lossnet_close(&net);
	}
}

// ---- who is not believed ----------------------------------------------------------------------------

// A connection with segments in flight, of which this is the second.
static struct bed_peer *sending(struct page *page, struct bed_segment *second)
{
	struct bed_peer *peer = bed_connect(1460, 65535);

	assert_int_equal(pagebuf_write(peer->pcb, page, 0, PAGE_SIZE, false), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
	bed_next_tcp();
	*second = bed_next_tcp();
	assert_int_equal(second->len, 1460);
	return peer;
}

static void messages_that_fit_nothing_change_nothing(void **state)
{
	struct page *page = bed_page(1);
	struct bed_segment segment;
	struct bed_peer *peer = sending(page, &segment);
	const struct message right = about(&segment, 1400);
	struct message wrong[11];
	const char *all[] = {"what=\"believed\"", "what=\"no_connection\"",
			     "what=\"not_in_flight\"", "what=\"no_smaller\""};
	const unsigned want[] = {0, 3, 3, 2};
	uint64_t before[4];

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		wrong[i] = right;
	wrong[0].source++;
	wrong[1].dest++;
	wrong[2].source = right.dest;
	wrong[3].seq = peer->pcb->lastack - 1;
	wrong[4].seq = peer->pcb->snd_nxt;
	wrong[5].seq = right.seq + (1U << 31);
	wrong[6].mtu = 1500;
	wrong[7].mtu = UINT16_MAX;
	wrong[8].protocol = 17;
	wrong[9].code = 3;
	wrong[10].broken = true;
	for (unsigned i = 0; i < 4; i++)
		before[i] = messages(all[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		say(&wrong[i]);
		assert_int_equal(peer->pcb->mss, 1460);
		assert_null(peer->pcb->recovery);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(messages(all[i]) - before[i], want[i]);
	assert_int_equal(tcp_path_entries, 0);
	say(&right);
	assert_int_equal(peer->pcb->mss, 1360);
	bed_page_done(page);
	forget_paths();
}

// All that go to the same address, and no other; the card still holds the long packet.
static void packets_that_a_card_holds_are_sent_again_as_others(void **state)
{
	struct page *page = bed_page(1);
	struct bed_peer *idle, *peer;
	struct bed_segment segment;
	struct bed_packet *packet;
	uint32_t bytes = 0;

	bed_tso(65535);
	idle = bed_connect(1460, 65535);
	bed.manual = true;
	peer = sending(page, &segment);
	bed_page_done(page);
	while (bed_next_tcp().packet)
		;
	say(&(struct message){segment.seq, segment.source, segment.dest, 1280, 1500, 6, 4, false});
	assert_int_equal(idle->pcb->mss, 1240);
	assert_int_equal(peer->pcb->mss, 1240);
	while ((packet = bed_next())) {
		assert_int_equal(packet->offload.mss, 1240);
		bytes += packet->bytes - 54;
	}
	assert_int_equal(bytes, PAGE_SIZE);
	bed_ack(peer, peer->pcb->snd_nxt);
	assert_int_equal(bed_pages_released, 0);
	bed_complete_all(); // each says what it said when it was handed over
	assert_int_equal(bed_pages_released, 1);
	bed_tso(0);
	forget_paths();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	    TEST(all_tcp_over_ip4_says_that_it_is_not_to_be_cut),
	    TEST(a_router_that_says_so_is_believed_at_once),
	    TEST(a_path_that_gets_smaller_twice),
	    TEST(a_router_that_does_not_say_how_much),
	    TEST(a_path_too_small_may_cut_packets),
	    TEST(new_connections_begin_with_what_is_known_for_ten_minutes),
	    TEST(silence_is_asked_with_smaller_segments),
	    TEST(a_silent_path_that_takes_even_less),
	    TEST(a_broken_path_is_no_small_one),
	    TEST(a_path_that_stands_still_for_a_moment_is_no_small_one),
	    TEST(messages_that_fit_nothing_change_nothing),
	    TEST(packets_that_a_card_holds_are_sent_again_as_others),
	};
	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
