// SPDX-License-Identifier: BSD-2-Clause
// The loopback interface (net/loopback.h). It is on no list of lwIP's, for with it a machine with one card would
// have two interfaces, and what is simple with one (net/lwip/tcp_straight.c, IPv6's scopes) would not be. The hooks
// below lead to it. It makes and checks no checksums.
//
// From the wire nothing is taken that claims to be from or for it: RFC 1122, 3.2.1.3 (g); RFC 4291, 2.5.3.
#include "net/loopback.h"
#include "hooks.h"
#include "kernel/copy.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/vmm.h"
#include "kernel/wtd.h"
#include "lwip/ip.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"

// Packets on their way. TCP keeps within its windows, so this bounds datagrams: an ENOBUFS for their sender.
#define PACKETS_MOST 1024 // a power of two
#define BYTES_MOST   (8U << 20)
#define BATCH	     32	 // packets between two looks at what else is to be done
#define HEADERS_MOST 128 // IPv4 and TCP with all options; IPv6 and TCP with options
#define OUR_NUMBER   253 // no card has it
#define ANY_MTU	     65535

// Fast WTD context, one processor: no lock.
static struct netif lo;
static struct pbuf *queue[PACKETS_MOST];
static uint32_t queue_in, queue_out, queue_bytes; // in, out: free-running
static bool refused;				  // TCP has something that did not go
bool stack_unmapped_seen;

static uint64_t packets, dropped, martians;
KSTAT_COUNTER(packets, "pagewire_loopback_packets_total", "Packets of this machine to itself.");
KSTAT_COUNTER(dropped, "pagewire_loopback_dropped_total",
	      "Of them, refused for want of room or memory.");
KSTAT_COUNTER(martians, "pagewire_net_martians_total",
	      "Packets from the wire, dropped: from or for a loopback address, or from our own.");

// ---- in ----

static void deliver(struct pbuf *p)
{
	const struct ip_hdr *ip = p->payload;
	ip4_addr_t one = {PP_HTONL(IPADDR_LOOPBACK)}, to = {ip->dest.addr};

	// All of 127.0.0.0/8 is this interface's: it has the address that the packet is for.
	if (IPH_V(ip) == 4 && ip4_addr_isloopback(&to))
		ip_addr_copy_from_ip4(lo.ip_addr, to);
	packets++;
	if (ip_input(p, &lo) != ERR_OK)
		pbuf_free(p);
	ip_addr_copy_from_ip4(lo.ip_addr, one);
}

static void run(struct wtd *work)
{
	for (unsigned n = 0; n < BATCH && queue_out != queue_in; n++) {
		struct pbuf *p = queue[queue_out++ % PACKETS_MOST];

		queue_bytes -= p->tot_len;
		deliver(p);
	}
	if (queue_out != queue_in) {
		wtd_post_fast(work);
	} else if (refused) {
		refused = false;
		tcp_txnow();
	}
	stack_flush();
}
static struct wtd work = WTD_INIT(run, "loopback");

// ---- out ----

// A byte in a page that is not mapped.
static bool hidden(const void *byte)
{
	return page_of_phys(virt_to_phys(byte))->flags & PAGE_HIDDEN;
}

// The packet once more, for the receiver: a pbuf with the headers, and slices of what is behind them. TCP and IP
// change headers and cut pbufs on both sides, and neither may see that of the other.
static struct pbuf *by_reference(struct pbuf *packet)
{
	uint16_t skip = (uint16_t)MIN((int)packet->len, HEADERS_MOST);
	uint16_t left = (uint16_t)(packet->tot_len - skip);
	struct pbuf *first = pbuf_alloc(PBUF_LINK, skip, PBUF_RAM), **link;

	if (!first)
		return NULL;
	memcpy(first->payload, packet->payload, skip);
	first->tot_len = packet->tot_len;
	link = &first->next;
	for (struct pbuf *q = packet; left; q = q->next, skip = 0) {
		struct pbuf *slice;

		if (q->len == skip)
			continue;
		slice = pbuf_slice(q, skip, (uint16_t)(q->len - skip));
		if (!slice) {
			pbuf_free(first);
			return NULL;
		}
		stack_unmapped_seen |= hidden(slice->payload);
		slice->tot_len = left;
		left = (uint16_t)(left - slice->len);
		*link = slice;
		link = &slice->next;
	}
	return first;
}

static err_t output(struct pbuf *packet)
{
	struct pbuf *p = NULL;

	if (queue_in - queue_out < PACKETS_MOST && queue_bytes + packet->tot_len <= BYTES_MOST)
		p = by_reference(packet);
	if (!p) {
		dropped++;
		refused = true;
		wtd_post_fast(&work);
		return ERR_MEM;
	}
	queue[queue_in++ % PACKETS_MOST] = p;
	queue_bytes += p->tot_len;
	wtd_post_fast(&work);
	return ERR_OK;
}

static err_t output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
	return output(p);
}
static err_t output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
	return output(p);
}

// ---- routes ----

static bool owns4(const ip4_addr_t *ip)
{
	struct netif *netif;

	if (ip4_addr_isloopback(ip))
		return true;
	NETIF_FOREACH(netif)
	if (ip4_addr_eq(ip, netif_ip4_addr(netif)) && !ip4_addr_isany(ip))
		return true;
	return false;
}

// Link-local addresses of ours are not told from others': they would need their zone on both sides.
static bool owns6(const ip6_addr_t *ip)
{
	struct netif *netif;

	if (ip6_addr_isloopback(ip))
		return true;
	if (ip6_addr_islinklocal(ip) || ip6_addr_ismulticast(ip))
		return false;
	NETIF_FOREACH(netif)
	for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
		if (ip6_addr_isvalid(netif_ip6_addr_state(netif, i)) &&
		    ip6_addr_zoneless_eq(ip, netif_ip6_addr(netif, i)))
			return true;
	return false;
}

// From a loopback address nothing leaves the machine: it comes here and is for nobody.
struct netif *loopback_route4(const ip4_addr_t *from, const ip4_addr_t *to)
{
	return owns4(to) || (from && ip4_addr_isloopback(from)) ? &lo : NULL;
}
struct netif *loopback_route6(const ip6_addr_t *from, const ip6_addr_t *to)
{
	return owns6(to) || (from && ip6_addr_isloopback(from)) ? &lo : NULL;
}

bool loopback_owns(const ip_addr_t *ip)
{
	return IP_IS_V6(ip) ? owns6(ip_2_ip6(ip)) : owns4(ip_2_ip4(ip));
}

struct netif *loopback_source(const ip_addr_t *to, ip_addr_t *from)
{
	if (!loopback_owns(to))
		return NULL;
	if (!IP_IS_V6(to) && ip4_addr_isloopback(ip_2_ip4(to)))
		ip_addr_set_ip4_u32_val(*from, PP_HTONL(IPADDR_LOOPBACK));
	else
		*from = *to;
	return &lo;
}

// ---- from the wire ----

static int drop(struct pbuf *p)
{
	martians++;
	pbuf_free(p);
	return 1;
}

int loopback_refuses4(struct pbuf *p, const struct netif *arrival)
{
	const struct ip_hdr *ip = p->payload;
	ip4_addr_t from, to;

	if (arrival == &lo || p->len < IP_HLEN)
		return 0;
	from.addr = ip->src.addr;
	to.addr = ip->dest.addr;
	return owns4(&from) || ip4_addr_isloopback(&to) ? drop(p) : 0;
}

int loopback_refuses6(struct pbuf *p, const struct netif *arrival)
{
	const struct ip6_hdr *ip = p->payload;
	ip6_addr_t from, to;

	if (arrival == &lo || p->len < IP6_HLEN)
		return 0;
	ip6_addr_copy_from_packed(from, ip->src);
	ip6_addr_copy_from_packed(to, ip->dest);
	return owns6(&from) || ip6_addr_isloopback(&to) ? drop(p) : 0;
}

// ---- bytes that are not mapped ----

// A pbuf of cache pages as a chain of pbufs that can be read; null: no memory. Counted: this is where bytes that a
// program sends by reference enter a server of the kernel's that reads them.
static struct pbuf *copy_of(const struct pbuf *q)
{
	const uint8_t *at = q->payload;
	struct pbuf *chain = NULL;

	for (uint32_t left = q->len; left;) {
		uint32_t offset = (uintptr_t)at % PAGE_SIZE;
		uint32_t n = MIN(left, (uint32_t)PAGE_SIZE - offset);
		struct pbuf *part = pbuf_alloc(PBUF_RAW, (uint16_t)n, PBUF_RAM);

		if (!part) {
			if (chain)
				pbuf_free(chain);
			return NULL;
		}
		copy_from_cache(part->payload, page_of_phys(virt_to_phys(at)), offset, n);
		if (chain)
			pbuf_cat(chain, part);
		else
			chain = part;
		at += n;
		left -= n;
	}
	return chain;
}

struct pbuf *stack_mapped(struct pbuf *p)
{
	struct pbuf *out = NULL, *q, *next;

	for (q = p; q && !hidden(q->payload); q = q->next)
		;
	if (!q)
		return p;
	for (q = p; q; q = q->next) {
		struct pbuf *part = hidden(q->payload) ? copy_of(q) : pbuf_slice(q, 0, q->len);

		if (!part) {
			if (out)
				pbuf_free(out);
			return NULL;
		}
		if (out)
			pbuf_cat(out, part);
		else
			out = part;
	}
	for (q = p; q;
	     q = next) { // one by one, for a slice keeps what it is of, and what is chained to that
		next = q->next;
		q->next = NULL;
		q->tot_len = q->len;
		pbuf_free(q);
	}
	return out;
}

// ---- start ----

void loopback_init(void)
{
	lo = (struct netif){.name = {'l', 'o'},
			    .num = OUR_NUMBER,
			    .mtu = ANY_MTU,
			    .mtu6 = ANY_MTU,
			    .tso_max = ANY_MTU,
			    .flags = NETIF_FLAG_UP | NETIF_FLAG_LINK_UP,
			    .input = ip_input,
			    .output = output4,
			    .output_ip6 = output6};
	ip_addr_set_ip4_u32_val(lo.ip_addr, PP_HTONL(IPADDR_LOOPBACK));
	ip_addr_set_ip4_u32_val(lo.netmask, PP_HTONL(IP_CLASSA_NET));
	ip_addr_set_ip4_u32_val(lo.gw, 0);
	IP_ADDR6_HOST(&lo.ip6_addr[0], 0, 0, 0, 1);
	lo.ip6_addr_state[0] = IP6_ADDR_PREFERRED;
	NETIF_SET_CHECKSUM_CTRL(&lo, NETIF_CHECKSUM_DISABLE_ALL);
}
