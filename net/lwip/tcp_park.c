// SPDX-License-Identifier: BSD-2-Clause
// Connections without a PCB while nothing happens on them, see include/net/park.h. RFC 9293, 3.3.1: the variables of
// the connection that cannot be had otherwise, and RFC 6298's, 7323's, 9438's. All others are known while nothing is
// under way, or begin anew after an idle time anyhow (RFC 5681, 4.1: tcp_cwnd_restart): that is why a connection is not
// parked before a time-out's time has passed since it last sent.
//
// Congestion window and the window that the peer announced are kept in 16 bits: the first is at most an initial window
// by then, the second as the peer's header had it.
#include "tcp_park.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "net/park.h"
#include "tcp_bare.h"
#include "tcp_path.h"
#include "tcp_rcvbuf.h"
#include "tcp_sndbuf.h"
#include "tcp_straight_find.h"
#include "tcp_timestamp.h"

struct parked {
	struct tcp_hash_node node; // must be first
	uint32_t ports;		   // as in the PCB
	uint32_t rcv_nxt, snd_nxt, ts_recent;
	int32_t srtt, rttvar;
	uint32_t ssthresh, w_max;
	// window: how far it was announced, from rcv_nxt; taken: rcv_taken
	uint32_t window : 19, snd_scale : 4, scaled : 1, times : 1, sack : 1, no_delay : 1,
	    reo_persist : 5;
	uint32_t taken : 18, reo_wider : 4, late_by : 8, ipv6 : 1;
	uint16_t snd_wnd, snd_wnd_max;		 // before they are scaled
	uint16_t cwnd, mss, path_ms, wl1_behind; // wl1_behind: how far snd_wl1 is behind rcv_nxt
	int16_t rto;
	uint8_t local_zone, remote_zone; // IPv6
	uint64_t addresses[];		 // IPv4: wire_addresses; IPv6: ours, the peer's
};
_Static_assert(sizeof(struct parked) + 8 <= sizeof(struct tcp_parked), "tens of bytes, not a PCB");
_Static_assert(sizeof(struct parked) + 32 <= sizeof(struct tcp_parked6), "two addresses");
_Static_assert(TCP_WND < 1U << 19 && TCP_WND / 2 < 1U << 18, "fits");
_Static_assert(LWIP_TCP_CALC_INITIAL_CWND(TCP_MSS) <= UINT16_MAX, "fits");

static const struct tcp_park_server *server;

static uint64_t parkings, woken, wake_refused;
KSTAT_COUNTER(parkings, "pagewire_tcp_parked_total",
	      "Idle connections that were given up to a short record.");
KSTAT_COUNTER(woken, "pagewire_tcp_unparked_total", "Connections made anew from such a record.");
KSTAT_COUNTER(wake_refused, "pagewire_tcp_unpark_refused_total",
	      "Segments dropped because there was no memory to make their connection anew; the "
	      "peer sends them again.");
static uint64_t now_parked(void)
{
	return tcp_hash_count(TCP_HASH_PARKED);
}
KSTAT_GAUGE_FN(now_parked, "pagewire_tcp_connections_parked", NULL,
	       "Connections of which there is only a short record.", now_parked);

void tcp_park_serve(const struct tcp_park_server *its)
{
	server = its;
}

// ---- what can be parked ------------------------------------------------------------------------------

#define KEPT_FLAGS (TF_NODELAY | TF_WND_SCALE | TF_TIMESTAMP | TF_SACK)

// What only sockets set, and what nobody can do without a struct of its own for.
static bool is_plain(const struct tcp_pcb *pcb)
{
	return (pcb->wire_addresses || pcb->flags & TF_WIRE6) && !pcb->so_options && !pcb->tos &&
	       pcb->ttl == TCP_TTL && pcb->prio == TCP_PRIO_NORMAL &&
	       pcb->netif_idx == NETIF_NO_INDEX && !pcb->poll &&
	       pcb->keep_idle == TCP_KEEPIDLE_DEFAULT && pcb->keep_intvl == TCP_KEEPINTVL_DEFAULT &&
	       pcb->keep_cnt == TCP_KEEPCNT_DEFAULT && !pcb->timers.user_timeout && !pcb->rcvbuf &&
	       !(pcb->flags & TF_FRAGMENTED);
}

static bool nothing_to_send(const struct tcp_pcb *pcb)
{
	return !pcb->unsent && !pcb->unacked && !pcb->recovery && !pcb->snd_queuelen &&
	       !pcb->snd_trimmed && pcb->snd_buf == tcp_sndbuf_limit(pcb) &&
	       pcb->lastack == pcb->snd_nxt && pcb->snd_lbb == pcb->snd_nxt &&
	       pcb->snd_wl2 == pcb->snd_nxt && pcb->rtime < 0 && !pcb->rttest && !pcb->nrtx &&
	       !pcb->dupacks && !pcb->persist_backoff && tcp_path_expired(pcb);
}

// Nor is the peer kept waiting for a larger window: nobody would tell it of one (net/rxpool.c).
static bool nothing_received(const struct tcp_pcb *pcb)
{
	return !pcb->ooseq && !pcb->refused_data && !LWIP_TCP_SACK_VALID(pcb, 0) &&
	       pcb->rcv_wnd == TCP_WND_MAX(pcb) &&
	       pcb->rcv_ann_right_edge - pcb->rcv_nxt == pcb->rcv_ann_wnd &&
	       pcb->rcv_ann_wnd <= TCP_WND && pcb->rcv_ann_wnd >= TCP_WND_MAX(pcb) / 2 &&
	       pcb->rcv_taken < TCP_WND / 2 &&
	       (!(pcb->flags & TF_TIMESTAMP) || pcb->ts_lastacksent == pcb->rcv_nxt);
}

static bool is_quiet(const struct tcp_pcb *pcb)
{
	return pcb->state == ESTABLISHED && tcp_timer_idle(pcb) &&
	       !(pcb->flags & ~(KEPT_FLAGS | TF_RARE | TF_WIRE6)) && nothing_to_send(pcb) &&
	       nothing_received(pcb) && !pcb->keep_cnt_sent &&
	       (!pcb->challenged_at || tcp_now() - pcb->challenged_at >= TCP_CHALLENGE_INTERVAL);
}

// As it came in a header. False: it did not (from before scaling was agreed upon).
static bool unscale(const struct tcp_pcb *pcb, tcpwnd_size_t window, uint16_t *unscaled)
{
	*unscaled = (uint16_t)(window >> pcb->snd_scale);
	return (tcpwnd_size_t)*unscaled << pcb->snd_scale == window;
}

static void put_addresses(struct parked *p, const struct tcp_pcb *pcb)
{
	const ip6_addr_t *local = ip_2_ip6(&pcb->local_ip), *remote = ip_2_ip6(&pcb->remote_ip);

	p->ports = pcb->wire_ports;
	p->ipv6 = !!(pcb->flags & TF_WIRE6);
	if (!p->ipv6) {
		p->addresses[0] = pcb->wire_addresses;
		return;
	}
	memcpy(p->addresses, local->addr, 16);
	memcpy(p->addresses + 2, remote->addr, 16);
	p->local_zone = ip6_addr_zone(local);
	p->remote_zone = ip6_addr_zone(remote);
}

static bool put(struct parked *p, const struct tcp_pcb *pcb)
{
	uint32_t wl1_behind = pcb->rcv_nxt - pcb->snd_wl1;

	if (!unscale(pcb, pcb->snd_wnd, &p->snd_wnd) ||
	    !unscale(pcb, pcb->snd_wnd_max, &p->snd_wnd_max) || wl1_behind > UINT16_MAX)
		return false;
	p->wl1_behind = (uint16_t)wl1_behind;
	put_addresses(p, pcb);
	p->rcv_nxt = pcb->rcv_nxt;
	p->snd_nxt = pcb->snd_nxt;
	p->ts_recent = pcb->ts_recent;
	p->srtt = pcb->srtt;
	p->rttvar = pcb->rttvar;
	p->ssthresh = pcb->ssthresh;
	p->w_max = pcb->w_max;
	p->window = pcb->rcv_ann_wnd;
	p->snd_scale = pcb->snd_scale;
	p->scaled = !!(pcb->flags & TF_WND_SCALE);
	p->times = !!(pcb->flags & TF_TIMESTAMP);
	p->sack = !!(pcb->flags & TF_SACK);
	p->no_delay = !!(pcb->flags & TF_NODELAY);
	p->taken = pcb->rcv_taken;
	p->late_by = pcb->late_by;
	p->reo_wider = pcb->reo_wider;
	p->reo_persist = pcb->reo_persist;
	p->cwnd = (uint16_t)MIN(pcb->cwnd, LWIP_TCP_CALC_INITIAL_CWND(pcb->mss));
	p->mss = pcb->mss;
	p->path_ms = pcb->path_ms;
	p->rto = pcb->rto;
	return true;
}

enum tcp_park_verdict tcp_park(struct tcp_pcb *pcb, struct tcp_parked *into)
{
	struct parked *p = (struct parked *)into;
	uint32_t hash = pcb->node.hash;

	if (!is_plain(pcb))
		return TCP_PARK_NEVER;
	if (!is_quiet(pcb) || !put(p, pcb))
		return TCP_PARK_LATER;
	tcp_sndbuf_end(pcb);
	TCP_RMV_ACTIVE(pcb);
	tcp_free(pcb);
	tcp_hash_add(&p->node, TCP_HASH_PARKED, hash);
	parkings++;
	return TCP_PARKED;
}

// ---- and made anew -----------------------------------------------------------------------------------

static ip_addr_t address6(const uint64_t *words, uint8_t zone)
{
	ip_addr_t ip = {.type = IPADDR_TYPE_V6};

	memcpy(ip_2_ip6(&ip)->addr, words, 16);
	ip6_addr_set_zone(ip_2_ip6(&ip), zone);
	return ip;
}

static ip_addr_t address4(uint64_t word)
{
	return (ip_addr_t){.u_addr.ip4.addr = (uint32_t)word, .type = IPADDR_TYPE_V4};
}

static ip_addr_t local_of(const struct parked *p)
{
	return p->ipv6 ? address6(p->addresses, p->local_zone) : address4(p->addresses[0] >> 32);
}

static ip_addr_t remote_of(const struct parked *p)
{
	return p->ipv6 ? address6(p->addresses + 2, p->remote_zone) : address4(p->addresses[0]);
}

static void tuple_of(const struct parked *p, struct tcp_tuple *tuple)
{
	const ip_addr_t local = local_of(p), remote = remote_of(p);

	tcp_tuple_fill(tuple, &local, lwip_ntohs((uint16_t)(p->ports >> 16)), &remote,
		       lwip_ntohs((uint16_t)p->ports));
}

static void get_ends(struct tcp_pcb *pcb, const struct parked *p, const struct tcp_tuple *tuple)
{
	pcb->local_ip = local_of(p);
	pcb->remote_ip = remote_of(p);
	pcb->local_port = tuple->local_port;
	pcb->remote_port = tuple->remote_port;
	if (!p->ipv6)
		pcb->netif_hints.addr_hint = tcp_bare_neighbour;
}

static void get_receiver(struct tcp_pcb *pcb, const struct parked *p)
{
	pcb->rcv_nxt = p->rcv_nxt;
	pcb->rcv_scale = p->scaled ? TCP_RCV_SCALE : 0;
	pcb->rcv_wnd = TCP_WND_MAX(pcb);
	pcb->rcv_ann_wnd = p->window;
	pcb->rcv_ann_right_edge = p->rcv_nxt + p->window;
	pcb->rcv_taken = p->taken; // since so long ago that it does not matter any more when
	pcb->rcv_round_at = tcp_now() - (1U << 30);
}

static void get_sender(struct tcp_pcb *pcb, const struct parked *p)
{
	pcb->mss = p->mss;
	pcb->snd_nxt = pcb->snd_lbb = pcb->lastack = pcb->snd_wl2 = p->snd_nxt;
	pcb->snd_wl1 = p->rcv_nxt - p->wl1_behind;
	pcb->snd_scale = p->snd_scale;
	pcb->snd_wnd = (tcpwnd_size_t)p->snd_wnd << p->snd_scale;
	pcb->snd_wnd_max = (tcpwnd_size_t)p->snd_wnd_max << p->snd_scale;
	pcb->cwnd = p->cwnd;
	pcb->ssthresh = p->ssthresh;
	pcb->w_max = p->w_max;
	pcb->srtt = p->srtt;
	pcb->rttvar = p->rttvar;
	pcb->rto = p->rto;
	pcb->path_ms = p->path_ms;
	pcb->late_by = p->late_by;
	pcb->reo_wider = p->reo_wider;
	pcb->reo_persist = p->reo_persist;
	pcb->snd_ticks = tcp_ticks; // the window is that of after an idle time
}

// The link and the path may take less than when it was parked.
static void fit(struct tcp_pcb *pcb)
{
	const struct netif *netif = netif_list && !netif_list->next
					? netif_list
					: ip_route(&pcb->local_ip, &pcb->remote_ip);

	if (!netif)
		return; // there is no way to the peer just now
	tcp_path_woken(pcb, netif);
	tcp_learn_tso(pcb, netif);
}

struct tcp_pcb *tcp_unpark(struct tcp_parked *parked)
{
	struct parked *p = (struct parked *)parked;
	struct tcp_pcb *pcb = tcp_alloc(TCP_PRIO_NORMAL);
	uint32_t hash = p->node.hash;
	struct tcp_tuple tuple;

	if (!pcb)
		return NULL;
	tcp_hash_remove(&p->node);
	tuple_of(p, &tuple);
	get_ends(pcb, p, &tuple);
	pcb->flags = (tcpflags_t)((p->scaled ? TF_WND_SCALE : 0) | (p->times ? TF_TIMESTAMP : 0) |
				  (p->sack ? TF_SACK : 0) | (p->no_delay ? TF_NODELAY : 0));
	get_receiver(pcb, p);
	get_sender(pcb, p);
	if (p->times) {
		pcb->ts_recent = p->ts_recent;
		pcb->ts_lastacksent = p->rcv_nxt;
		pcb->ts_offset = tcp_timestamp_offset(&tuple);
	}
	pcb->state = ESTABLISHED;
	tcp_reg_active(pcb, hash);
	fit(pcb);
	woken++;
	return pcb;
}

// The interface by which packets go where no route says so: that of a zone.
static uint8_t interface_of(const struct parked *p)
{
	if (p->ipv6 && (p->local_zone || p->remote_zone))
		return p->local_zone ? p->local_zone : p->remote_zone;
	return netif_default ? netif_get_index(netif_default) : NETIF_NO_INDEX;
}

void tcp_parked_reset(struct tcp_parked *parked)
{
	struct parked *p = (struct parked *)parked;
	struct tcp_bare segment = {.seqno = p->snd_nxt,
				   .ackno = p->rcv_nxt,
				   .window = TCP_WND >> TCP_RCV_SCALE,
				   .flags = TCP_RST | TCP_ACK,
				   .netif_idx = interface_of(p),
				   .timestamps = p->times,
				   .ts_echo = p->ts_recent};
	struct tcp_tuple tuple;

	tuple_of(p, &tuple);
	if (p->times)
		segment.ts_offset = tcp_timestamp_offset(&tuple);
	tcp_hash_remove(&p->node);
	tcp_bare_send(&tuple, &segment);
	MIB2_STATS_INC(mib2.tcpoutrsts);
}

ip_addr_t tcp_parked_peer(const struct tcp_parked *parked)
{
	return remote_of((const struct parked *)parked);
}

// ---- for lwIP and the straight ways -------------------------------------------------------------------

bool tcp_park_is_between(const struct tcp_hash_node *node, uint64_t addresses, uint32_t ports)
{
	const struct parked *p = CONTAINER_OF(node, const struct parked, node);

	return p->addresses[0] == addresses && p->ports == ports && !p->ipv6;
}

static bool is_of(uint8_t zone, uint8_t index)
{
	return zone == IP6_NO_ZONE || zone == index;
}

bool tcp_park_is_between6(const struct tcp_hash_node *node, const struct tcp_addresses6 *addresses,
			  uint32_t ports, uint8_t index)
{
	const struct parked *p = CONTAINER_OF(node, const struct parked, node);

	return p->ipv6 && p->ports == ports && !memcmp(p->addresses, addresses->dest, 16) &&
	       !memcmp(p->addresses + 2, addresses->source, 16) && is_of(p->local_zone, index) &&
	       is_of(p->remote_zone, index);
}

bool tcp_park_is(const struct tcp_hash_node *node, const struct tcp_tuple *tuple)
{
	uint32_t ports =
	    (uint32_t)lwip_htons(tuple->local_port) << 16 | lwip_htons(tuple->remote_port);
	struct tcp_addresses6 addresses;

	if (!tuple->ipv6)
		return tcp_park_is_between(node, (uint64_t)tuple->local[0] << 32 | tuple->remote[0],
					   ports);
	memcpy(addresses.dest, tuple->local, sizeof(addresses.dest));
	memcpy(addresses.source, tuple->remote, sizeof(addresses.source));
	return tcp_park_is_between6(node, &addresses, ports,
				    netif_get_index(ip_current_input_netif()));
}

struct tcp_pcb *tcp_park_wake(struct tcp_hash_node *node)
{
	struct tcp_pcb *pcb =
	    server->wake((struct tcp_parked *)CONTAINER_OF(node, struct parked, node));

	wake_refused += !pcb;
	return pcb;
}

void tcp_park_address_gone(const ip_addr_t *old)
{
	struct tcp_hash_node *node, *next;

	if (!tcp_hash_count(TCP_HASH_PARKED))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(tcp_hash_table); i++)
		for (node = tcp_hash_table[i]; node; node = next) {
			struct parked *p = CONTAINER_OF(node, struct parked, node);
			ip_addr_t local;

			next = node->next;
			if (node->kind != TCP_HASH_PARKED)
				continue;
			local = local_of(p);
			if (ip_addr_eq(&local, old))
				server->gone((struct tcp_parked *)p);
		}
}
