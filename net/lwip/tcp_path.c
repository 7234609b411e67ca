// SPDX-License-Identifier: BSD-2-Clause
// Path MTU discovery for TCP, see tcp_path.h.
#include "tcp_path.h"
#include "kernel/kstat.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "tcp_hash.h"
#include "tcp_recover.h"

// ---- what is remembered -----------------------------------------------------------------------------
// Only those whose sequence numbers we use can put something in, so an attacker needs a connection for each. A full
// set loses its oldest: then a router has to say it again.

#define SETS 256U // powers of two
#define WAYS 4U

struct path {
	uint32_t to[4];
	uint32_t
	    learned; // sys_now, ms; wraps after 49 days, and then one may be believed for ten minutes too many
	uint16_t mtu;  // 0: nothing
	uint16_t ipv6; // as in struct tcp_tuple
};
static struct path paths[SETS][WAYS];
uint32_t tcp_path_entries;

static uint64_t messages, unknown, stale, senseless, no_smaller;
static uint64_t by_message, by_silence, by_memory, by_link, restored;
#define MESSAGE_HELP "Messages that a packet of TCP's was too big, by what was thought of them."
#define LOWER_HELP   "Connections whose segments became smaller, or began so, by the reason."
KSTAT_ROW(messages, .name = "pagewire_tcp_path_mtu_messages_total", .labels = "what=\"believed\"",
	  .help = MESSAGE_HELP, .type = KSTAT_COUNTER_T, .value = &messages);
KSTAT_ROW(unknown, .name = "pagewire_tcp_path_mtu_messages_total",
	  .labels = "what=\"no_connection\"", .help = MESSAGE_HELP, .type = KSTAT_COUNTER_T,
	  .value = &unknown);
KSTAT_ROW(stale, .name = "pagewire_tcp_path_mtu_messages_total", .labels = "what=\"not_in_flight\"",
	  .help = MESSAGE_HELP, .type = KSTAT_COUNTER_T, .value = &stale);
KSTAT_ROW(senseless, .name = "pagewire_tcp_path_mtu_messages_total", .labels = "what=\"too_small\"",
	  .help = MESSAGE_HELP, .type = KSTAT_COUNTER_T, .value = &senseless);
KSTAT_ROW(no_smaller, .name = "pagewire_tcp_path_mtu_messages_total",
	  .labels = "what=\"no_smaller\"", .help = MESSAGE_HELP, .type = KSTAT_COUNTER_T,
	  .value = &no_smaller);
KSTAT_ROW(by_message, .name = "pagewire_tcp_path_mtu_lowered_total", .labels = "why=\"message\"",
	  .help = LOWER_HELP, .type = KSTAT_COUNTER_T, .value = &by_message);
KSTAT_ROW(by_silence, .name = "pagewire_tcp_path_mtu_lowered_total", .labels = "why=\"silence\"",
	  .help = LOWER_HELP, .type = KSTAT_COUNTER_T, .value = &by_silence);
KSTAT_ROW(by_memory, .name = "pagewire_tcp_path_mtu_lowered_total", .labels = "why=\"memory\"",
	  .help = LOWER_HELP, .type = KSTAT_COUNTER_T, .value = &by_memory);
KSTAT_ROW(by_link, .name = "pagewire_tcp_path_mtu_lowered_total", .labels = "why=\"link\"",
	  .help = LOWER_HELP, .type = KSTAT_COUNTER_T, .value = &by_link);
KSTAT_COUNTER(restored, "pagewire_tcp_path_mtu_restored_total",
	      "Of those for silence, connections whose peer turned out to be only late.");
static uint64_t entries(void)
{
	return tcp_path_entries;
}
KSTAT_GAUGE_FN(entries, "pagewire_tcp_path_mtu_entries", NULL,
	       "Addresses of which is remembered that their path takes less than the link.",
	       entries);

static uint32_t age_ms(const struct path *path)
{
	return sys_now() - path->learned;
}

static void forget(struct path *path)
{
	tcp_path_entries -= path->mtu != 0;
	path->mtu = 0;
}

// The set that the peer belongs to, without those in it that are too old. *key: of the peer alone.
static struct path *set_of(const struct tcp_tuple *ends, struct tcp_tuple *key)
{
	struct path *set;

	*key = (struct tcp_tuple){.ipv6 = ends->ipv6};
	for (unsigned i = 0; i < ARRAY_SIZE(key->remote); i++)
		key->remote[i] = ends->remote[i];
	set = paths[tcp_hash(key) % SETS];
	for (unsigned i = 0; i < WAYS; i++)
		if (age_ms(&set[i]) >= TCP_PATH_AGE_MS)
			forget(&set[i]);
	return set;
}

static bool is_to(const struct path *path, const struct tcp_tuple *key)
{
	return path->mtu && path->ipv6 == key->ipv6 &&
	       !__builtin_memcmp(path->to, key->remote, sizeof(path->to));
}

static struct path *find_in(struct path *set, const struct tcp_tuple *key)
{
	for (unsigned i = 0; i < WAYS; i++)
		if (is_to(&set[i], key))
			return &set[i];
	return NULL;
}

static void remember(const struct tcp_tuple *ends, uint16_t mtu)
{
	struct tcp_tuple key;
	struct path *set = set_of(ends, &key), *path = find_in(set, &key);

	for (unsigned i = 0; i < WAYS && !path; i++)
		if (!set[i].mtu)
			path = &set[i];
	if (!path) {
		path = set;
		for (unsigned i = 1; i < WAYS; i++)
			if (age_ms(&set[i]) > age_ms(path))
				path = &set[i];
	}
	forget(path);
	*path = (struct path){.learned = sys_now(), .mtu = mtu, .ipv6 = key.ipv6};
	for (unsigned i = 0; i < ARRAY_SIZE(path->to); i++)
		path->to[i] = key.remote[i];
	tcp_path_entries++;
}

bool tcp_path_entry(unsigned n, struct tcp_path_entry *entry)
{
	for (unsigned i = 0; i < SETS * WAYS; i++) {
		const struct path *path = &paths[i / WAYS][i % WAYS];

		if (!path->mtu || age_ms(path) >= TCP_PATH_AGE_MS || n--)
			continue;
		entry->mtu = path->mtu;
		entry->age_s = age_ms(path) / 1000;
		if (path->ipv6)
			IP_ADDR6(&entry->to, path->to[0], path->to[1], path->to[2], path->to[3]);
		else
			ip_addr_set_ip4_u32_val(entry->to, path->to[0]);
		return true;
	}
	return false;
}

void tcp_path_forget_all(void)
{
	for (unsigned i = 0; i < SETS * WAYS; i++)
		forget(&paths[i / WAYS][i % WAYS]);
}

// ---- connections ------------------------------------------------------------------------------------

static void ends_of(const struct tcp_pcb *pcb, struct tcp_tuple *ends)
{
	tcp_tuple_fill(ends, &pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port);
}

static uint16_t headers(const struct tcp_pcb *pcb)
{
	return (IP_IS_V6_VAL(pcb->remote_ip) ? IP6_HLEN : IP_HLEN) + TCP_HLEN +
	       (pcb->flags & TF_TIMESTAMP ? LWIP_TCP_OPT_LEN_TS_OUT : 0);
}

uint16_t tcp_path_mtu(const struct tcp_pcb *pcb)
{
	return pcb->mss + headers(pcb);
}

// What packets are made for when the path takes `mtu`.
static uint16_t usable(bool ipv6, uint32_t mtu)
{
	return (uint16_t)MIN(MAX(mtu, ipv6 ? TCP_PATH_LEAST6 : TCP_PATH_LEAST4), UINT16_MAX);
}

// pcb->mss has changed.
static void learn_limits(struct tcp_pcb *pcb)
{
	const struct netif *netif = ip_route(&pcb->local_ip, &pcb->remote_ip);

	if (netif)
		tcp_learn_tso(pcb, netif);
	else
		pcb->tso_limit = pcb->mss;
}

// The connection's packets fit into it from now on. False: they did before.
static bool fit(struct tcp_pcb *pcb, uint32_t mtu)
{
	bool ipv6 = IP_IS_V6_VAL(pcb->remote_ip), changed = false;

	if (!ipv6 && mtu < TCP_PATH_LEAST4 && tcp_path_mtu(pcb) > mtu &&
	    !(pcb->flags & TF_FRAGMENTED)) {
		tcp_set_flags(pcb, TF_FRAGMENTED);
		pcb->netif_hints.may_fragment = 1;
		changed = true;
	}
	if (tcp_path_mtu(pcb) <= usable(ipv6, mtu))
		return changed;
	pcb->mss = usable(ipv6, mtu) - headers(pcb);
	learn_limits(pcb);
	return true;
}

// And what is under way is lost.
static void fit_now(struct tcp_pcb *pcb, uint32_t mtu, uint64_t *counter)
{
	if (!fit(pcb, mtu))
		return;
	++*counter;
	if (pcb->state < ESTABLISHED || !pcb->unacked)
		return;
	tcp_recover_smaller(pcb);
	tcp_output(pcb);
}

void tcp_path_recall(struct tcp_pcb *pcb)
{
	struct tcp_tuple ends, key;
	const struct path *path;

	ends_of(pcb, &ends);
	path = find_in(set_of(&ends, &key), &key);
	if (path && fit(pcb, path->mtu))
		by_memory++;
}

// ---- what routers say -------------------------------------------------------------------------------

static struct tcp_pcb *find_pcb(const struct tcp_tuple *ends)
{
	struct tcp_hash_node *node = NULL;
	uint32_t hash = tcp_hash(ends);

	while ((node = tcp_hash_find(hash, node))) {
		struct tcp_pcb *pcb = CONTAINER_OF(node, struct tcp_pcb, node);
		struct tcp_tuple its;

		if (node->kind != TCP_HASH_PCB)
			continue;
		ends_of(pcb, &its);
		if (!__builtin_memcmp(&its, ends, sizeof(its)))
			return pcb;
	}
	return NULL;
}

// RFC 1191, 7: what a link may take on which a packet of that length was too long.
static uint32_t plateau(uint32_t length)
{
	static const uint16_t links[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296};

	for (unsigned i = 0; i < ARRAY_SIZE(links); i++)
		if (links[i] < length)
			return links[i];
	return 68;
}

void tcp_path_too_big(const struct tcp_tuple *quoted, uint32_t seq, uint32_t mtu, uint32_t length)
{
	struct tcp_pcb *pcb = find_pcb(quoted);
	ip_addr_t to;

	if (!pcb || pcb->state < ESTABLISHED) {
		unknown++;
		return;
	}
	// RFC 5927, 4.1: who forges one must know what is in flight just now.
	if (TCP_SEQ_LT(seq, pcb->lastack) || TCP_SEQ_GEQ(seq, pcb->snd_nxt)) {
		stale++;
		return;
	}
	if (quoted->ipv6 && mtu < TCP_PATH_LEAST6) {
		senseless++;
		return;
	}
	if (!mtu)
		mtu = plateau(length);
	// Of many packets on their way each causes a message.
	if (mtu >= tcp_path_mtu(pcb) ||
	    (pcb->flags & TF_FRAGMENTED && tcp_path_mtu(pcb) <= TCP_PATH_LEAST4)) {
		no_smaller++;
		return;
	}
	messages++;
	remember(quoted, (uint16_t)mtu);
	to = pcb->remote_ip;
	for (pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		if (ip_addr_eq(&pcb->remote_ip, &to))
			fit_now(pcb, mtu, &by_message);
}

static uint16_t link_mtu(const struct tcp_pcb *pcb, const struct netif *netif)
{
	return IP_IS_V6_VAL(pcb->remote_ip) ? netif_mtu6(netif) : netif->mtu;
}

void tcp_path_link(const struct netif *netif)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		if (ip_route(&pcb->local_ip, &pcb->remote_ip) == netif)
			fit_now(pcb, link_mtu(pcb, netif), &by_link);
}

void tcp_path_woken(struct tcp_pcb *pcb, const struct netif *netif)
{
	uint16_t mtu = link_mtu(pcb, netif);

	tcp_path_begin(pcb);
	if (UNLIKELY(tcp_path_mtu(pcb) > mtu) && fit(pcb, mtu))
		by_link++;
}

// ---- silence ----------------------------------------------------------------------------------------
// A hole that eats long packets and says nothing shows itself by time-outs alone. So does a path that is broken for a
// second, and then smaller segments are for nothing: where the window has ever grown, long ones got through;
// there one waits longer, and nothing is remembered.

#define TIMEOUTS	2U
#define TIMEOUTS_PROVEN 4U
#define LEAST_MS	1000U // RFC 6298, 2.1: before, a path may just have become slow
#define LONG_PAYLOAD	1024U // what is no longer than that gets through nearly everywhere

// What is tried, the next smaller one each time: what a switch takes where only the ends take jumbo frames, what
// tunnels take, what everybody takes (RFC 9293, 3.7.1).
static const uint16_t steps[] = {1500, 1280, 576};

static bool long_ones_got_through(const struct tcp_pcb *pcb)
{
	return pcb->path_ms;
}

// The packet in which the first of what is not acknowledged went out.
static uint32_t first_packet(const struct tcp_pcb *pcb)
{
	const struct tcp_seg *seg = pcb->unacked;
	uint32_t end = lwip_ntohl(seg->tcphdr->seqno) + seg->len;

	return MIN(end - pcb->lastack, tcp_seg_unit(pcb)) + headers(pcb);
}

bool tcp_path_silent(struct tcp_pcb *pcb, unsigned timeouts, bool *worth_it)
{
	bool proven = long_ones_got_through(pcb);
	uint32_t packet, step, n = 0;

	if (timeouts < (proven ? TIMEOUTS_PROVEN : TIMEOUTS) || !pcb->unacked || !pcb->snd_wnd ||
	    tcp_now() - pcb->unacked->sent_at < LEAST_MS)
		return false;
	packet = first_packet(pcb);
	while (n < ARRAY_SIZE(steps) - 1 && steps[n] >= packet)
		n++;
	step = steps[n];
	if (packet <= LONG_PAYLOAD + headers(pcb) ||
	    (step < TCP_PATH_LEAST6 && IP_IS_V6_VAL(pcb->remote_ip)) || !fit(pcb, step))
		return false;
	by_silence++;
	*worth_it = !proven;
	return true;
}

void tcp_path_try_again(struct tcp_pcb *pcb, uint16_t mss)
{
	pcb->mss = mss;
	learn_limits(pcb);
	restored++;
}

void tcp_path_got_through(const struct tcp_pcb *pcb)
{
	struct tcp_tuple ends;

	ends_of(pcb, &ends);
	remember(&ends, tcp_path_mtu(pcb));
}
