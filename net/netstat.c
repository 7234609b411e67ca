// SPDX-License-Identifier: BSD-2-Clause
// lwIP's own counters as metrics: pagewire_tcp_*, pagewire_ip_*, pagewire_arp_* and their like. Reads
// only; any context.
#include "kernel/kstat.h"
#include "kernel/lock.h"
#include "lwip/etharp.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "net/straight.h"
#include "tcp_straight.h"

_Static_assert(sizeof(STAT_COUNTER) == sizeof(uint64_t), "our patch makes them wide");

// What takes the straight way is counted there, once for all layers.
#define WITH_STRAIGHT(id, field, straight)                                                         \
	static uint64_t id(void)                                                                   \
	{                                                                                          \
		return lwip_stats.field + (straight);                                              \
	}
WITH_STRAIGHT(segments_in, mib2.tcpinsegs, tcp_straight_in)
WITH_STRAIGHT(packets_in, ip.recv, tcp_straight_in - tcp_straight_in6 + straight_general)
WITH_STRAIGHT(packets_in6, ip6.recv, tcp_straight_in6)
WITH_STRAIGHT(segments_sent, tcp.xmit, tcp_straight_out)
WITH_STRAIGHT(packets_sent, ip.xmit, tcp_straight_out - tcp_straight_out6)
WITH_STRAIGHT(packets_sent6, ip6.xmit, tcp_straight_out6)

#define COUNTER(id, metric, text, field) KSTAT_COUNTER_L(id, metric, NULL, text, lwip_stats.field)

// ---- TCP --------------------------------------------------------------------------------------------

static uint64_t active(void)
{
	return tcp_hash_count(TCP_HASH_PCB) + tcp_hash_count(TCP_HASH_PARKED);
}

static uint64_t in_time_wait(void)
{
	return tcp_hash_count(TCP_HASH_PCB_TW) + tcp_hash_count(TCP_HASH_TW);
}

// Who reads statistics may be a worker or a thread, and a packet may end any connection of the list meanwhile: fast
// WTDs are off for the walk, past MEMP_NUM_TCP_PCB of them at most.
static uint64_t count_state(enum tcp_state state)
{
	uint64_t count = 0;

	wtd_disable();
	for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		count += pcb->state == state;
	wtd_enable();
	return count;
}

static uint64_t half_open(void)
{
	return tcp_hash_count(TCP_HASH_SYN);
}

static uint64_t established(void)
{
	return count_state(ESTABLISHED) + tcp_hash_count(TCP_HASH_PARKED);
}

KSTAT_GAUGE_FN(tcp_active, "pagewire_tcp_connections", NULL,
	       "Connections in any state but TIME_WAIT.", active);
KSTAT_GAUGE_FN(tcp_established, "pagewire_tcp_connections_established", NULL,
	       "Connections in ESTABLISHED.", established);
KSTAT_GAUGE_FN(tcp_half_open, "pagewire_tcp_connections_half_open", NULL,
	       "Connections in SYN_RCVD.", half_open);
KSTAT_GAUGE_FN(tcp_tw, "pagewire_tcp_connections_time_wait", NULL, "Connections in TIME_WAIT.",
	       in_time_wait);
COUNTER(tcp_opened, "pagewire_tcp_opened_total", "Connections that peers asked for.",
	mib2.tcppassiveopens);
KSTAT_COUNTER_FN(tcp_in, "pagewire_tcp_segments_in_total", NULL, "Segments received.", segments_in);
KSTAT_COUNTER(
    tcp_orphans_ended, "pagewire_tcp_orphans_ended_total",
    "Connections given up after their application had closed them, because their peer took "
    "nothing of what was left to send.");
KSTAT_COUNTER_L(tcp_challenges, "pagewire_tcp_challenge_acks_total", "what=\"sent\"",
		"Segments that only a mistaken or hostile host sends (RFC 5961), by whether they "
		"were answered.",
		tcp_challenges_sent);
KSTAT_COUNTER_L(tcp_unchallenged, "pagewire_tcp_challenge_acks_total", "what=\"held_back\"",
		"Segments that only a mistaken or hostile host sends (RFC 5961), by whether they "
		"were answered.",
		tcp_challenges_held);
KSTAT_COUNTER_L(tcp_paws, "pagewire_tcp_timestamps_dropped_total", "why=\"old\"",
		"Segments dropped for their time stamps (RFC 7323): from before what had been "
		"received (PAWS), or without one.",
		tcp_paws_dropped);
KSTAT_COUNTER_L(tcp_no_times, "pagewire_tcp_timestamps_dropped_total", "why=\"missing\"",
		"Segments dropped for their time stamps (RFC 7323): from before what had been "
		"received (PAWS), or without one.",
		tcp_times_missing);
KSTAT_COUNTER_L(tcp_visits, "pagewire_tcp_timer_visits_total", NULL,
		"Connections that TCP's timers looked at.", tcp_timer_visits);
KSTAT_COUNTER_L(tcp_steps, "pagewire_tcp_lookup_steps_total", NULL,
		"Connections that segments were compared with until theirs was found.",
		tcp_hash_steps);
COUNTER(tcp_out, "pagewire_tcp_segments_out_total",
	"Segments of the send queue sent, without retransmissions and bare ACKs.", mib2.tcpoutsegs);
KSTAT_COUNTER_FN(tcp_xmit, "pagewire_tcp_packets_out_total", NULL,
		 "TCP packets of every kind given to IP.", segments_sent);
COUNTER(tcp_retrans, "pagewire_tcp_retransmits_total", "Segments queued for retransmission.",
	mib2.tcpretranssegs);
COUNTER(tcp_resets_in, "pagewire_tcp_resets_in_total", "Connections reset by the peer.",
	mib2.tcpestabresets);
COUNTER(tcp_resets_out, "pagewire_tcp_resets_out_total", "RST segments sent.", mib2.tcpoutrsts);

#define TCP_DROP(id, why, field)                                                                   \
	KSTAT_COUNTER_L(id, "pagewire_tcp_dropped_total", "reason=\"" why "\"",                    \
			"Segments not accepted, by reason.", lwip_stats.tcp.field)
TCP_DROP(tcp_drop_checksum, "checksum", chkerr);
TCP_DROP(tcp_drop_length, "length", lenerr);
TCP_DROP(tcp_drop_memory, "memory", memerr);
TCP_DROP(tcp_drop_protocol, "protocol", proterr);
TCP_DROP(tcp_drop_option, "option", opterr);
COUNTER(tcp_drop_all, "pagewire_tcp_discarded_total",
	"Segments thrown away as a whole, for whatever reason.", tcp.drop);

// ---- IP ---------------------------------------------------------------------------------------------

KSTAT_COUNTER_FN(ip4_in, "pagewire_ip_packets_in_total", "version=\"4\"", "IP packets received.",
		 packets_in);
KSTAT_COUNTER_FN(ip6_in, "pagewire_ip_packets_in_total", "version=\"6\"", "IP packets received.",
		 packets_in6);
KSTAT_COUNTER_FN(ip4_out, "pagewire_ip_packets_out_total", "version=\"4\"", "IP packets sent.",
		 packets_sent);
KSTAT_COUNTER_FN(ip6_out, "pagewire_ip_packets_out_total", "version=\"6\"", "IP packets sent.",
		 packets_sent6);
#define IP_DROP(id, family, why, group, field)                                                     \
	KSTAT_COUNTER_L(id, "pagewire_ip_dropped_total",                                           \
			"version=\"" family "\",reason=\"" why "\"",                               \
			"IP packets not accepted or not sent, by reason.", lwip_stats.group.field)
IP_DROP(ip4_drop_checksum, "4", "checksum", ip, chkerr);
IP_DROP(ip4_drop_length, "4", "length", ip, lenerr);
IP_DROP(ip4_drop_memory, "4", "memory", ip, memerr);
IP_DROP(ip4_drop_route, "4", "route", ip, rterr);
IP_DROP(ip4_drop_protocol, "4", "protocol", ip, proterr);
IP_DROP(ip4_drop_reassembly, "4", "reassembly", ip_frag, drop);
IP_DROP(ip6_drop_length, "6", "length", ip6, lenerr);
IP_DROP(ip6_drop_memory, "6", "memory", ip6, memerr);
IP_DROP(ip6_drop_route, "6", "route", ip6, rterr);
IP_DROP(ip6_drop_protocol, "6", "protocol", ip6, proterr);
IP_DROP(ip6_drop_reassembly, "6", "reassembly", ip6_frag, drop);

// ---- ARP, ND, ICMP, UDP -----------------------------------------------------------------------------

COUNTER(arp_in, "pagewire_arp_packets_in_total", "ARP packets received.", etharp.recv);
COUNTER(arp_out, "pagewire_arp_packets_out_total", "ARP packets sent.", etharp.xmit);
static uint64_t nd_entries(void)
{
	return nd6_neighbors;
}
KSTAT_GAUGE_FN(nd_entries, "pagewire_nd_entries", NULL,
	       "IPv6 neighbours known or asked for, of LWIP_ND6_NUM_NEIGHBORS.", nd_entries);
KSTAT_COUNTER_L(nd_recycled, "pagewire_nd_recycled_total", NULL,
		"IPv6 neighbours forgotten early because the table was full.", nd6_recycled);

static uint64_t arp_entries(void)
{
	return etharp_entries;
}
KSTAT_GAUGE_FN(arp_entries, "pagewire_arp_entries", NULL,
	       "Neighbours known or asked for, of ARP_TABLE_SIZE.", arp_entries);
KSTAT_COUNTER_L(arp_recycled, "pagewire_arp_recycled_total", NULL,
		"Neighbours forgotten early because the table was full.", etharp_recycled);
#define ARP_DROP(id, why, field)                                                                   \
	KSTAT_COUNTER_L(id, "pagewire_arp_dropped_total", "reason=\"" why "\"",                    \
			"ARP packets not accepted, packets not sent for lack of an address.",      \
			lwip_stats.etharp.field)
ARP_DROP(arp_drop_length, "length", lenerr);
ARP_DROP(arp_drop_protocol, "protocol", proterr);
ARP_DROP(arp_drop_memory, "memory", memerr);
COUNTER(nd_in, "pagewire_nd_packets_in_total", "Neighbour discovery packets received.", nd6.recv);
COUNTER(nd_drop, "pagewire_nd_dropped_total", "Neighbour discovery packets not accepted.",
	nd6.drop);
COUNTER(icmp_in, "pagewire_icmp_packets_in_total", "ICMP packets received.", icmp.recv);
COUNTER(icmp_drop, "pagewire_icmp_dropped_total", "ICMP packets not accepted.", icmp.drop);
COUNTER(icmp6_in, "pagewire_icmp6_packets_in_total", "ICMPv6 packets received.", icmp6.recv);
COUNTER(icmp6_drop, "pagewire_icmp6_dropped_total", "ICMPv6 packets not accepted.", icmp6.drop);
COUNTER(udp_in, "pagewire_udp_datagrams_in_total", "UDP datagrams received.", udp.recv);
COUNTER(udp_drop, "pagewire_udp_dropped_total", "UDP datagrams not accepted.", udp.drop);
COUNTER(link_drop, "pagewire_link_dropped_total",
	"Frames of a kind or for an address that is not ours.", link.drop);
