// SPDX-License-Identifier: BSD-2-Clause
// Between lwIP's netif and the driver's netdev. Up: filled receive buffers become packets (stage 4 of
// the read path). Down: a packet's pbufs become fragments with physical addresses (stage 9), and come
// back one by one when the card is done (stage 10).
//
// The card gets a reference on *every* pbuf of a packet: TCP trims and splits its chains while the card
// reads them, so a reference on the first would not keep the rest. The reference on the first also is
// what tcp_output_segment_busy sees: a segment that the card still holds is not touched.
//
// Nothing here copies or reads payload.
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pool.h"
#include "kernel/vmm.h"
#include "hooks.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/priv/tcp_priv.h"
#include "net/address_watch.h"
#include "net/flow.h"
#include "net/iface.h"
#include "net/mtu.h"
#include "net/rxpool.h"
#include "net/stack.h"
#include "net/straight.h"
#include "tcp_label.h"
#include "tcp_straight.h"

// More cards than a PC has slots.
static struct pool iface_pool = POOL_INIT("iface", struct iface, 32);
static struct iface *ifaces;

static uint64_t received, rx_bytes, tx_packets, tx_bytes, tx_unsendable;
KSTAT_COUNTER(received, "pagewire_net_rx_frames_total", "Frames received.");
KSTAT_COUNTER(rx_bytes, "pagewire_net_rx_bytes_total", "Bytes of frames received.");
KSTAT_COUNTER(tx_packets, "pagewire_net_tx_packets_total", "Packets given to cards.");
KSTAT_COUNTER(tx_bytes, "pagewire_net_tx_bytes_total", "Bytes of packets given to cards.");
KSTAT_COUNTER(tx_unsendable, "pagewire_net_tx_unsendable_total",
	      "Packets that no card can send: too many pieces, or headers in pieces.");

struct iface *iface_first(void)
{
	return ifaces;
}

// ---- down -------------------------------------------------------------------------------------------

static void release_pbufs(const struct netfrag *frags, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pbuf_free(frags[i].cookie);
}

// The packet's pbufs as fragments; 0 when there are too many. Each gets the card's reference.
static inline unsigned reference_pbufs(struct pbuf *packet, struct netfrag frags[NETDEV_MAX_FRAGS])
{
	unsigned count = 0;

	for (struct pbuf *q = packet; q; q = q->next) {
		if (UNLIKELY(!q->len))
			continue;
		if (UNLIKELY(count == NETDEV_MAX_FRAGS)) {
			release_pbufs(frags, NETDEV_MAX_FRAGS);
			return 0;
		}
		q->ref++;
		frags[count++] = (struct netfrag){virt_to_phys(q->payload), q->len, q};
	}
	return count;
}

// The card did not take a packet whose pbufs have its references: it waits, or nothing is held.
static __attribute__((noinline)) err_t not_taken(struct iface *iface, const struct netfrag *frags,
						 unsigned count, const struct netoffload *offload,
						 int err)
{
	if (err == -ENOBUFS && txqueue_add(&iface->queue, frags, count, offload))
		return ERR_OK;
	release_pbufs(frags, count);
	return err == -ENOBUFS ? ERR_MEM : ERR_IF;
}

// A packet whose pbufs have the card's references. ERR_OK: the card or the queue holds them. Else nothing is held:
// TCP keeps the segment as unsent.
static inline __attribute__((always_inline)) err_t give(struct iface *iface, uint32_t bytes,
							const struct netfrag *frags, unsigned count,
							const struct netoffload *offload)
{
	int err = -ENOBUFS;

	if (LIKELY(!iface->queue.first))
		err = iface->dev->transmit(iface->dev, frags, count, offload);
	if (LIKELY(!err))
		iface->kick = true;
	else if ((err = not_taken(iface, frags, count, offload, err)) != ERR_OK)
		return (err_t)err;
	tx_packets++;
	tx_bytes += bytes;
	return ERR_OK;
}

static __attribute__((noinline)) err_t send(struct iface *iface, struct pbuf *packet,
					    const struct netoffload *offload)
{
	struct netfrag frags[NETDEV_MAX_FRAGS];
	unsigned count = reference_pbufs(packet, frags);

	if (!count) {
		tx_unsendable++;
		return ERR_VAL;
	}
	return give(iface, packet->tot_len, frags, count, offload);
}

// lwIP leaves the label 0.
static __attribute__((noinline)) void put_label(struct pbuf *packet)
{
	struct ip6_hdr *ip = (void *)((uint8_t *)packet->payload + SIZEOF_ETH_HDR);

	ip->_v_tc_fl |= lwip_htonl(tcp_label(tcp_label_of(ip)));
}

// netif->linkoutput.
static err_t link_output(struct netif *netif, struct pbuf *packet)
{
	struct netoffload offload;

	if (!flow_offload(packet, &offload)) {
		tx_unsendable++;
		return ERR_VAL;
	}
	if (offload.ipv6 && offload.l4_csum && !offload.udp)
		put_label(packet);
	return send(netif->state, packet, &offload);
}

// Nearly all are headers and one piece behind them: what the card is told is made in one place that lasts.
ONE_CALLER err_t iface_send_tcp(struct netif *netif, struct pbuf *packet, uint16_t tcp_header,
				bool ipv6)
{
	struct iface *iface = netif->state;
	struct iface_segment *out = ipv6 ? &iface->segment6 : &iface->segment;
	struct pbuf *rest = packet->next;

	out->offload.header_bytes = SIZEOF_ETH_HDR + (ipv6 ? IP6_HLEN : IP_HLEN) + tcp_header;
	out->offload.mss = packet->tso_mss;
	if (UNLIKELY(!rest || rest->next || !rest->len))
		return send(iface, packet, &out->offload);
	out->frags[0] = (struct netfrag){virt_to_phys(packet->payload), packet->len, packet};
	out->frags[1] = (struct netfrag){virt_to_phys(rest->payload), rest->len, rest};
	packet->ref++;
	rest->ref++;
	return give(iface, packet->tot_len, out->frags, 2, &out->offload);
}

ONE_CALLER err_t iface_send_answer(struct netif *netif, const struct netfrag frags[2],
				   uint16_t tcp_header, const struct pbuf *packet, bool ipv6)
{
	struct iface *iface = netif->state;
	struct iface_segment *out = ipv6 ? &iface->segment6 : &iface->segment;

	out->offload.header_bytes = SIZEOF_ETH_HDR + (ipv6 ? IP6_HLEN : IP_HLEN) + tcp_header;
	out->offload.mss = packet->tso_mss;
	return give(iface, packet->tot_len, frags, 2, &out->offload);
}

// What stands in header_bytes does not matter where nothing is cut: always the same, which the card knows already.
err_t iface_give_tcp(struct netif *netif, struct pbuf *headers)
{
	static const struct netoffload offload = {.ip_csum = true,
						  .l4_csum = true,
						  .l3_offset = SIZEOF_ETH_HDR,
						  .l4_offset = SIZEOF_ETH_HDR + IP_HLEN,
						  .header_bytes =
						      SIZEOF_ETH_HDR + IP_HLEN + TCP_HLEN};
	err_t err = send(netif->state, headers, &offload);

	if (LIKELY(err == ERR_OK))
		headers->ref--;
	return err;
}

// A segment could not be cut because a card holds it (LWIP_HOOK_TCP_OUTPUT_WAITS).
static bool tcp_waits;

void netdev_tcp_waits(void)
{
	tcp_waits = true;
}

// What waits for a completion may go on; not here, because this may be inside TCP.
static void tx_release(void *ctx, void *const *cookies, unsigned count)
{
	struct iface *iface = ctx;

	for (void *const *end = cookies + count; cookies < end; cookies++) {
		struct pbuf *p = *cookies;
		if (!p)
			continue;
		if (LIKELY(p->ref > 1)) // nearly always TCP has it, too
			p->ref--;
		else
			pbuf_free(p);
	}
	if (UNLIKELY(tcp_waits))
		wtd_post_fast(&iface->room);
}

static void drain(struct wtd *work)
{
	struct iface *iface = CONTAINER_OF(work, struct iface, room);

	bool empty = txqueue_drain(iface);

	if (tcp_waits || (empty && iface->queue.refused)) {
		// Connections whose packets were turned away would wait for an ACK or a timer.
		iface->queue.refused &= !empty;
		tcp_waits = false;
		tcp_txnow();
	}
	stack_flush();
}

// The driver may be inside transmit, and that inside TCP: so not here, but as the next work.
static void tx_room(void *ctx)
{
	struct iface *iface = ctx;

	wtd_post_fast(&iface->room);
}

void iface_kick_all(void)
{
	for (struct iface *iface = ifaces; iface; iface = iface->next) {
		if (!iface->kick)
			continue;
		iface->kick = false;
		iface->dev->kick(iface->dev);
	}
}

// ---- up ---------------------------------------------------------------------------------------------

static bool rx_buffer(void *ctx, paddr_t *addr, void **cookie)
{
	*cookie = rxpool_get(addr);
	return *cookie;
}

static void rx_unused(void *ctx, void *cookie)
{
	rxpool_put(cookie);
}

// What is no segment for the straight way: lwIP's layers decide.
static __attribute__((noinline)) void general_input(struct iface *iface, struct rxbuf *buf,
						    uint32_t bytes)
{
	struct pbuf *p = rxpool_packet(buf, bytes);

	if (p && iface->netif.input(p, &iface->netif) != ERR_OK)
		pbuf_free(p);
}

// What the straight way said of a frame that it left to us. 1: its buffer is not the card's any more.
static inline uint32_t keep(struct iface *iface, struct netbuf *frame, enum straight way)
{
	if (way == STRAIGHT_NOT)
		general_input(iface, frame->cookie, frame->bytes);
	frame->cookie = NULL;
	return 1;
}

// The same of one that waited, or of one before which such a one has been received.
static __attribute__((noinline)) uint32_t receive_late(struct iface *iface, struct netbuf *frame)
{
	enum straight way = straight_receive(&iface->netif, frame->cookie, frame->bytes);

	if (way == STRAIGHT_ROW)
		iface->rows = true;
	return way == STRAIGHT_DONE || way == STRAIGHT_ROW ? 0 : keep(iface, frame, way);
}

// A slot without a whole frame. What waits comes before one that is whole with it. How many buffers are not the card's
// any more.
static __attribute__((noinline)) uint32_t part_input(struct iface *iface, struct netbuf *part)
{
	struct netbuf *before;
	struct pbuf *p;
	uint32_t taken = longframe_part(&iface->arriving, part, &p);

	if (taken)
		part->cookie = NULL;
	if (!p) {
		received--;
		return taken;
	}
	rx_bytes += p->tot_len;
	while ((before = straight_left()))
		taken += receive_late(iface, before);
	tcp_straight_settle(&iface->netif);
	if (iface->netif.input(p, &iface->netif) != ERR_OK)
		pbuf_free(p);
	return taken;
}

// The straight way does not take a frame as things are: first those that must be received before it. How many buffers
// are not the card's any more.
static __attribute__((noinline)) uint32_t receive_in_order(struct iface *iface,
							   struct netbuf *frame, enum straight way)
{
	struct netbuf *before = straight_before(way);
	uint32_t kept = 0;

	if (!before)
		return keep(iface, frame, way);
	if (way == STRAIGHT_NEXT)
		return receive_late(iface, before) + receive_late(iface, frame);
	for (; before; before = straight_before(way))
		kept += receive_late(iface, before);
	return kept + receive_late(iface, frame);
}

static uint32_t rx_frames(void *ctx, struct netbuf *frames, uint32_t count)
{
	struct iface *iface = ctx;
	struct netbuf *frame, *end = frames + count;
	const bool straight = straight_on && netif_is_up(&iface->netif);
	uint64_t total = 0;
	uint32_t kept = 0;

	received += count;
	tcp_straight_batch(&iface->netif);
	for (frame = frames; frame < end; frame++) {
		enum straight way;

		if (UNLIKELY(!frame->bytes)) {
			kept += part_input(iface, frame);
			continue;
		}
		total += frame->bytes;
		if (UNLIKELY(!straight)) {
			kept += keep(iface, frame, STRAIGHT_NOT);
			continue;
		}
		if (straight_waits(frame))
			continue;
		if (UNLIKELY(iface->rows)) {
			uint32_t passed =
			    straight_row(&iface->netif, frame, (uint32_t)(end - frame));

			iface->rows = passed;
			total += (uint64_t)passed * frame->bytes; // of the same length
			frame += passed;
		}
		way = straight_receive(&iface->netif, frame->cookie, frame->bytes);
		if (LIKELY(way == STRAIGHT_DONE))
			continue;
		if (way == STRAIGHT_ROW)
			iface->rows = true;
		else
			kept += receive_in_order(iface, frame, way);
	}
	while ((frame = straight_left()))
		kept += receive_late(iface, frame);
	rx_bytes += total;
	return kept;
}

static void rx_batch_end(void *ctx)
{
	struct iface *iface = ctx;

	tcp_straight_settle(&iface->netif);
	stack_flush();
}

static void link_changed(void *ctx, bool up)
{
	struct iface *iface = ctx;

	if (up) {
		netif_set_link_up(&iface->netif);
	} else {
		netif_set_link_down(&iface->netif);
		txqueue_drop(iface);
	}
	stack_flush();
}

static const struct netdev_client client = {
    .rx_buffer = rx_buffer,
    .rx_unused = rx_unused,
    .rx_frames = rx_frames,
    .rx_batch_end = rx_batch_end,
    .tx_release = tx_release,
    .tx_room = tx_room,
    .link_changed = link_changed,
};

static void refill_all(void)
{
	for (struct iface *iface = ifaces; iface; iface = iface->next)
		iface->dev->rx_refill(iface->dev);
}

// ---- start ------------------------------------------------------------------------------------------

static err_t set_up_netif(struct netif *netif)
{
	struct iface *iface = netif->state;

	netif->name[0] = 'e';
	netif->name[1] = 'n';
	netif->hwaddr_len = ETH_HWADDR_LEN;
	memcpy(netif->hwaddr, iface->dev->mac, ETH_HWADDR_LEN);
	// The driver's limit counts the Ethernet header; IP's length field has 16 bits.
	if (iface->dev->tso_max > SIZEOF_ETH_HDR)
		netif->tso_max = MIN(iface->dev->tso_max - SIZEOF_ETH_HDR, UINT16_MAX);
	netif->mtu = MTU_USUAL;
	netif->mtu6 = MTU_USUAL;
	netif->flags =
	    NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_MLD6;
	netif->output = etharp_output;
	netif->output_ip6 = ethip6_output;
	netif->linkoutput = link_output;
	netif->hostname = iface->hostname;
	return ERR_OK;
}

struct iface *iface_add(struct netdev *dev)
{
	struct iface *iface = pool_alloc(&iface_pool);
	struct iface **end = &ifaces;
	int err;

	if (!iface) {
		kprintf("net: no memory for an interface on %s\n", dev->name);
		return NULL;
	}
	iface->dev = dev;
	iface->segment.offload = (struct netoffload){.ip_csum = true,
						     .l4_csum = true,
						     .l3_offset = SIZEOF_ETH_HDR,
						     .l4_offset = SIZEOF_ETH_HDR + IP_HLEN,
						     .seeded = 4};
	iface->segment6.offload = (struct netoffload){.l4_csum = true,
						      .ipv6 = true,
						      .l3_offset = SIZEOF_ETH_HDR,
						      .l4_offset = SIZEOF_ETH_HDR + IP6_HLEN,
						      .seeded = 6};
	wtd_init(&iface->room, drain, "tx room");
	kstrlcpy(iface->hostname, "pagewire", sizeof(iface->hostname));
	rxpool_init(dev->rx_ring_size);
	rxpool_set_refill_hook(refill_all);
	dev->client = &client;
	dev->client_ctx = iface;
	netif_add_noaddr(&iface->netif, iface, set_up_netif, address_watch_input);
	while (*end)
		end = &(*end)->next;
	*end = iface;
	err = dev->start(dev);
	if (err) {
		kprintf("net: %s does not start (error %d)\n", dev->name, -err);
		*end = NULL;
		netif_remove(&iface->netif);
		pool_free(&iface_pool, iface);
		return NULL;
	}
	if (dev->link_up)
		netif_set_link_up(&iface->netif);
	return iface;
}
