// SPDX-License-Identifier: BSD-2-Clause
// A full ring is back-pressure, not an error: packets wait here, by reference and in order, until the
// driver reports room. Bounded; what does not fit is refused to TCP, which keeps it and tries again.
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pool.h"
#include "net/iface.h"

// 1,024 packets of 1,514 bytes are 12 ms of a gigabit.
#define QUEUE_PACKETS 1024
#define QUEUE_BYTES   (QUEUE_PACKETS * 1514U)

struct txqueue_packet {
	struct txqueue_packet *next;
	struct netoffload offload;
	uint16_t count;
	bool large; // which pool it is from
	uint32_t bytes;
	struct netfrag frags[];
};

// Most packets are a header and up to three pieces of pages; the rest may have any number.
#define SMALL_FRAGS 6
struct packet_small {
	struct txqueue_packet packet;
	struct netfrag frags[SMALL_FRAGS];
};
struct packet_large {
	struct txqueue_packet packet;
	struct netfrag frags[NETDEV_MAX_FRAGS];
};
static struct pool small_pool =
    POOL_INIT_RAW("txqueue_small", struct packet_small, 4 * QUEUE_PACKETS);
static struct pool large_pool = POOL_INIT_RAW("txqueue_large", struct packet_large, QUEUE_PACKETS);

static uint64_t queued, waiting, waiting_high, refused, dropped;
KSTAT_COUNTER(queued, "pagewire_net_tx_queued_total", "Packets that waited for room in the ring.");
KSTAT_GAUGE(waiting, "pagewire_net_tx_queue_packets", "Packets waiting for room in the ring now.");
KSTAT_GAUGE(waiting_high, "pagewire_net_tx_queue_packets_high",
	    "Most packets that ever waited for room in the ring.");
KSTAT_COUNTER(refused, "pagewire_net_tx_refused_total",
	      "Packets refused because too many waited already.");
KSTAT_COUNTER(dropped, "pagewire_net_tx_dropped_total",
	      "Waiting packets dropped because the link went down.");

bool txqueue_add(struct txqueue *queue, const struct netfrag *frags, unsigned count,
		 const struct netoffload *offload)
{
	struct txqueue_packet *packet = NULL;
	bool large = count > SMALL_FRAGS;
	uint32_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += frags[i].bytes;
	if (queue->packets < QUEUE_PACKETS && queue->bytes + bytes <= QUEUE_BYTES)
		packet = pool_alloc(large ? &large_pool : &small_pool);
	if (!packet) {
		queue->refused = true;
		refused++;
		return false;
	}
	packet->next = NULL;
	packet->offload = *offload;
	packet->count = count;
	packet->large = large;
	packet->bytes = bytes;
	memcpy(packet->frags, frags, count * sizeof(frags[0]));
	if (queue->last)
		queue->last->next = packet;
	else
		queue->first = packet;
	queue->last = packet;
	queue->packets++;
	queue->bytes += bytes;
	queued++;
	waiting++;
	waiting_high = MAX(waiting_high, waiting);
	return true;
}

static void take_first(struct txqueue *queue)
{
	struct txqueue_packet *packet = queue->first;

	queue->first = packet->next;
	if (!queue->first)
		queue->last = NULL;
	queue->packets--;
	queue->bytes -= packet->bytes;
	waiting--;
	pool_free(packet->large ? &large_pool : &small_pool, packet);
}

bool txqueue_drain(struct iface *iface)
{
	struct txqueue *queue = &iface->queue;

	while (queue->first) {
		struct txqueue_packet *packet = queue->first;
		int err = iface->dev->transmit(iface->dev, packet->frags, packet->count,
					       &packet->offload);

		if (err)
			break;
		iface->kick = true;
		take_first(queue);
	}
	return !queue->first;
}

void txqueue_drop(struct iface *iface)
{
	struct txqueue *queue = &iface->queue;

	while (queue->first) {
		struct txqueue_packet *packet = queue->first;

		for (unsigned i = 0; i < packet->count; i++)
			if (packet->frags[i].cookie)
				pbuf_free(packet->frags[i].cookie);
		dropped++;
		take_first(queue);
	}
	queue->refused = false;
}
