// SPDX-License-Identifier: BSD-2-Clause
// The test bed's TCP peer at 10.0.0.2 and fe80::5054:ff:fe00:2 (RFC 9293's header, by hand) and the server it talks to.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "netbed.h"
#include "netbed_private.h"

#define PEERS 64

static const uint8_t ours6[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};
static const uint8_t theirs6[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 2};

static struct bed_peer peers[PEERS];
static unsigned peer_count;
static uint16_t next_port = 20000;
static struct tcp_pcb *listener;

uint64_t kstat_get_held(void)
{
	return kstat_get("pagewire_rx_buffers", "place=\"held\"");
}

// ---- the server -------------------------------------------------------------------------------------

static err_t server_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct bed_peer *peer = arg;

	if (!p)
		return ERR_OK; // the peer's FIN; the test closes
	peer->received += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static void server_err(void *arg, err_t err)
{
	struct bed_peer *peer = arg;

	peer->pcb = NULL;
	peer->error = err;
}

static err_t server_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	if (!pcb)
		return ERR_VAL;
	for (unsigned i = 0; i < peer_count; i++) {
		if (peers[i].port != pcb->remote_port)
			continue;
		peers[i].pcb = pcb;
		tcp_arg(pcb, &peers[i]);
		tcp_recv(pcb, server_recv);
		tcp_err(pcb, server_err);
		tcp_nagle_disable(pcb);
		return ERR_OK;
	}
	return ERR_ABRT;
}

void bed_server_start(void)
{
	listener = tcp_new_ip_type(IPADDR_TYPE_ANY);
	assert_non_null(listener);
	assert_int_equal(tcp_bind(listener, IP_ANY_TYPE, 80), ERR_OK);
	listener = tcp_listen(listener);
	tcp_accept(listener, server_accept);
}

void bed_peers_forget(void)
{
	memset(peers, 0, sizeof(peers));
	peer_count = 0;
}

void bed_peers_forget_one(struct bed_peer *peer)
{
	assert_ptr_equal(peer, &peers[peer_count - 1]);
	memset(peer, 0, sizeof(*peer));
	peer_count--;
}

// ---- the wire ---------------------------------------------------------------------------------------

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = value >> 8;
	to[1] = value;
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, value >> 16);
	put16(to + 2, value);
}

static uint16_t get16(const uint8_t *from)
{
	return from[0] << 8 | from[1];
}

static uint32_t get32(const uint8_t *from)
{
	return (uint32_t)get16(from) << 16 | get16(from + 2);
}

static uint16_t checksum(const uint8_t *data, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

void bed_put16(uint8_t *to, uint16_t value)
{
	put16(to, value);
}

static bool is_ipv6(const uint8_t *frame)
{
	return get16(frame + 12) == ETHTYPE_IPV6;
}

unsigned bed_tcp_at(const uint8_t *frame)
{
	return 14 + (is_ipv6(frame) ? 40 : 20);
}

// The sum of an upper layer's packet with its pseudo-header.
static uint16_t pseudo_sum(const uint8_t *frame, uint8_t protocol, uint32_t len)
{
	const uint8_t *ip = frame + 14;
	uint32_t start = protocol + len;

	start = (uint16_t) ~(is_ipv6(frame) ? checksum(ip + 8, 32, start)
					    : checksum(ip + 12, 8, start));
	return checksum(frame + bed_tcp_at(frame), len, start);
}

static void seal(uint8_t *frame, uint32_t bytes, uint8_t protocol, unsigned at)
{
	uint8_t *ip = frame + 14, *sum = frame + bed_tcp_at(frame) + at;

	if (!is_ipv6(frame)) {
		put16(ip + 10, 0);
		put16(ip + 10, checksum(ip, 20, 0));
	}
	put16(sum, 0);
	put16(sum, pseudo_sum(frame, protocol, bytes - bed_tcp_at(frame)));
}

void bed_seal(uint8_t *frame, uint32_t bytes)
{
	seal(frame, bytes, 6, 16);
}

// Ethernet's and IP's headers of a packet from the peer. Returns their length.
static unsigned put_ip(uint8_t *frame, bool ipv6, uint8_t protocol, uint32_t len)
{
	static const uint8_t addresses[] = {10, 0, 0, 2, 10, 0, 0, 1};
	static const uint8_t ethernet[12] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2};
	uint8_t *ip = frame + 14;

	memcpy(frame, ethernet, sizeof(ethernet));
	put16(frame + 12, ipv6 ? ETHTYPE_IPV6 : ETHTYPE_IP);
	if (ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, len);
		ip[6] = protocol;
		ip[7] = protocol == 6 ? 64 : 255;
		memcpy(ip + 8, theirs6, sizeof(theirs6));
		memcpy(ip + 24, ours6, sizeof(ours6));
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + len);
		ip[8] = 64;
		ip[9] = protocol;
		memcpy(ip + 12, addresses, sizeof(addresses));
	}
	return bed_tcp_at(frame);
}

static void transmit_segment(struct bed_peer *peer, uint32_t seq, uint8_t flags,
			     const void *options, unsigned option_bytes, const void *data,
			     uint32_t len)
{
	uint8_t frame[BED_FRAME_MAX] = {0};
	unsigned header = 20 + (option_bytes + 3) / 4 * 4;
	uint32_t at = put_ip(frame, peer->ipv6, 6, header + len), bytes = at + header + len;
	uint8_t *tcp = frame + at;

	assert_true(bytes <= sizeof(frame));
	put16(tcp, peer->port);
	put16(tcp + 2, 80);
	put32(tcp + 4, seq);
	put32(tcp + 8, flags & TCP_ACK ? peer->ack : 0);
	tcp[12] = header / 4 << 4;
	tcp[13] = flags;
	put16(tcp + 14, peer->window);
	memcpy(tcp + 20, options, option_bytes);
	memcpy(tcp + header, data, len);
	bed_seal(frame, bytes);
	bed_receive(frame, bytes);
}

void bed_send_options(struct bed_peer *peer, uint8_t flags, const void *options,
		      unsigned option_bytes, const void *data, uint32_t len)
{
	uint32_t seq = peer->seq;

	peer->seq += len + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);
	transmit_segment(peer, seq, flags, options, option_bytes, data, len);
}

void bed_send(struct bed_peer *peer, uint8_t flags, const void *data, uint32_t len)
{
	uint8_t times[12] = {1, 1, 8, 10};

	put32(times + 4, peer->ts_value);
	put32(times + 8, peer->ts_echo);
	bed_send_options(peer, flags, times, peer->times ? sizeof(times) : 0, data, len);
}

void bed_ack(struct bed_peer *peer, uint32_t ack)
{
	peer->ack = ack;
	bed_send(peer, TCP_ACK, "", 0);
}

// The peer answers ARP, so that tests see TCP only.
static bool answer_arp(const struct bed_packet *packet)
{
	uint8_t frame[60] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 8, 6};

	if (get16(packet->frame + 12) != ETHTYPE_ARP)
		return false;
	memcpy(frame + 14, packet->frame + 14, 6);
	put16(frame + 20, 2);
	memcpy(frame + 22, frame + 6, 6);	    // sender: us
	memcpy(frame + 28, packet->frame + 38, 4);  // the address asked for
	memcpy(frame + 32, packet->frame + 22, 10); // target: who asked
	if (get16(packet->frame + 20) == 1)
		bed_receive(frame, sizeof(frame));
	return true;
}

// And neighbour solicitations (RFC 4861, 4.3 and 4.4).
static bool answer_solicitation(const struct bed_packet *packet)
{
	uint8_t frame[14 + 40 + 32] = {0}, *advert = frame + 54;

	if (!is_ipv6(packet->frame) || packet->frame[20] != 58 || packet->frame[54] != 135 ||
	    memcmp(packet->frame + 62, theirs6, sizeof(theirs6)) != 0)
		return false;
	put_ip(frame, true, 58, 32);
	advert[0] = 136;
	advert[4] = 0x60; // solicited, override
	memcpy(advert + 8, theirs6, sizeof(theirs6));
	advert[24] = 2;
	advert[25] = 1;
	memcpy(advert + 26, frame + 6, 6);
	seal(frame, sizeof(frame), 58, 2);
	bed_receive(frame, sizeof(frame));
	return true;
}

// The option's data, or null.
static const uint8_t *find_option(const uint8_t *tcp, uint8_t kind)
{
	for (unsigned at = 20, end = (tcp[12] >> 4) * 4; at + 1 < end && tcp[at];
	     at += tcp[at] == 1 ? 1 : tcp[at + 1])
		if (tcp[at] == kind)
			return tcp + at + 2;
	return NULL;
}

static void read_options(struct bed_segment *segment, const uint8_t *tcp)
{
	const uint8_t *mss = find_option(tcp, 2), *times = find_option(tcp, 8);

	segment->mss = mss ? get16(mss) : 0;
	segment->times = times;
	segment->ts_value = times ? get32(times) : 0;
	segment->ts_echo = times ? get32(times + 4) : 0;
}

// What is left of a packet that the card cuts (82540EM manual, 3.5): sequence numbers go up, PSH and FIN
// are the last one's.
static struct bed_segment uncut;

void bed_cut_forget(void)
{
	uncut.packet = NULL;
}

static struct bed_segment cut(void)
{
	struct bed_segment first = uncut;
	uint16_t mss = uncut.packet->offload.mss;

	if (!mss || uncut.len <= mss) {
		uncut.packet = NULL;
		return first;
	}
	first.len = mss;
	first.flags &= ~(TCP_PSH | TCP_FIN);
	uncut.seq += mss;
	uncut.data += mss;
	uncut.len -= mss;
	return first;
}

struct bed_segment bed_next_tcp(void)
{
	struct bed_packet *packet;

	if (uncut.packet)
		return cut();
	while ((packet = bed_next())) {
		const uint8_t *ip = packet->frame + 14;
		bool ipv6 = is_ipv6(packet->frame);
		uint32_t at = bed_tcp_at(packet->frame), len = packet->bytes - at;
		const uint8_t *tcp = packet->frame + at;

		if (answer_arp(packet) || answer_solicitation(packet) ||
		    (!ipv6 && get16(packet->frame + 12) != ETHTYPE_IP) || ip[ipv6 ? 6 : 9] != 6)
			continue;
		assert_int_equal(ip[0], ipv6 ? 0x60 : 0x45);
		if (!ipv6)
			assert_int_equal(checksum(ip, 20, 0), 0);
		assert_int_equal(ipv6 ? get16(ip + 4) : get16(ip + 2) - 20, len);
		assert_int_equal(pseudo_sum(packet->frame, 6, len), 0);
		uncut = (struct bed_segment){.packet = packet,
					     .source = get16(tcp),
					     .dest = get16(tcp + 2),
					     .seq = get32(tcp + 4),
					     .ack = get32(tcp + 8),
					     .flags = tcp[13] & 0x3f,
					     .window = get16(tcp + 14),
					     .data = tcp + (tcp[12] >> 4) * 4,
					     .len = len - (tcp[12] >> 4) * 4};
		read_options(&uncut, tcp);
		return cut();
	}
	return (struct bed_segment){0};
}

struct bed_peer *bed_syn(const void *options, unsigned option_bytes, uint16_t window)
{
	struct bed_peer *peer = &peers[peer_count++];

	assert_true(peer_count <= PEERS);
	*peer = (struct bed_peer){
	    .ipv6 = bed.ipv6, .port = next_port++, .seq = 0x1000, .window = window};
	bed_send_options(peer, TCP_SYN, options, option_bytes, "", 0);
	return peer;
}

static struct bed_peer *shake_hands(struct bed_peer *peer)
{
	struct bed_segment syn_ack = bed_next_tcp();

	if (!syn_ack.packet) // it waited for the peer's address
		syn_ack = bed_next_tcp();
	assert_non_null(syn_ack.packet);
	assert_int_equal(syn_ack.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(syn_ack.ack, peer->seq);
	assert_int_equal(syn_ack.times, peer->times);
	peer->ts_echo = syn_ack.ts_value;
	bed_ack(peer, syn_ack.seq + 1);
	assert_non_null(peer->pcb);
	return peer;
}

struct bed_peer *bed_connect(uint16_t mss, uint16_t window)
{
	uint8_t options[4] = {2, 4, mss >> 8, mss};

	return shake_hands(bed_syn(options, sizeof(options), window));
}

struct bed_peer *bed_connect_times(uint16_t mss, uint16_t window, uint32_t ts_value)
{
	uint8_t options[16] = {2, 4, mss >> 8, mss, 1, 1, 8, 10};
	struct bed_peer *peer;

	put32(options + 8, ts_value);
	peer = bed_syn(options, sizeof(options), window);
	peer->times = true;
	peer->ts_value = ts_value;
	return shake_hands(peer);
}

uint32_t bed_iss(struct bed_peer *peer)
{
	return peer->ack;
}

static uint32_t sum16(const uint8_t *data, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// ---- the card's checksums -------------------------------------------------------------------------------

void bed_make_checksums(struct bed_packet *packet)
{
	const struct netoffload *offload = &packet->offload;
	uint8_t *ip = packet->frame + offload->l3_offset, *l4 = packet->frame + offload->l4_offset;
	uint32_t len = packet->bytes - offload->l4_offset, sum;
	unsigned at = offload->udp ? 6 : 16;

	if (offload->ip_csum) {
		ip[10] = ip[11] = 0;
		sum = ~sum16(ip, offload->l4_offset - offload->l3_offset, 0);
		ip[10] = sum >> 8;
		ip[11] = sum;
	}
	if (!offload->l4_csum)
		return;
	if (offload->seeded) {
		assert_true(offload->ip_csum != offload->ipv6 && !offload->udp);
		assert_int_equal(offload->seeded, offload->ipv6 ? 6 : 4);
		sum = sum16(ip + (offload->ipv6 ? 8 : 12), offload->ipv6 ? 32 : 8,
			    6 + (offload->mss ? 0 : len));
		assert_int_equal(l4[at] << 8 | l4[at + 1], sum);
	}
	l4[at] = l4[at + 1] = 0;
	sum = (offload->udp ? 17 : 6) + len;
	sum = offload->ipv6 ? sum16(ip + 8, 32, sum) : sum16(ip + 12, 8, sum);
	sum = ~sum16(l4, len, sum);
	l4[at] = sum >> 8;
	l4[at + 1] = sum;
}

// RFC 6437, 3: one label for all packets between the same addresses and ports, whoever sends them; not 0, and hardly
// ever another's.
void bed_check_label(const uint8_t *frame)
{
	static struct {
		uint8_t ends[36];
		uint32_t label;
	} seen[4096];
	static unsigned others, same;
	uint32_t label = (frame[15] & 15U) << 16 | frame[16] << 8 | frame[17];
	unsigned at = (frame[56] << 8 | frame[57]) % ARRAY_SIZE(seen), before;

	assert_int_not_equal(label, 0);
	if (!memcmp(seen[at].ends, frame + 22, sizeof(seen[at].ends))) {
		assert_int_equal(label, seen[at].label);
		return;
	}
	before = (at + ARRAY_SIZE(seen) - 1) % ARRAY_SIZE(seen);
	others += seen[before].label != 0;
	same += seen[before].label == label;
	assert_true(same <= 3 + others / 1000);
	memcpy(seen[at].ends, frame + 22, sizeof(seen[at].ends));
	seen[at].label = label;
}
