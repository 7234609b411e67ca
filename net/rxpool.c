// SPDX-License-Identifier: BSD-2-Clause
// The pool of receive buffers, see the header for its states and its rules.
#include "net/rxpool.h"
#include "kernel/console.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/vmm.h"
#include "kernel/wtd.h"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "tcp_rcvbuf.h"

// A frame not longer than this is small: headers and a short request, no bulk data.
#define SMALL_FRAME 400
// 64 MB of RAM give 1,024 buffers (2 MB), 4 GB and more 65,536 (128 MB).
#define HELD_MIN      1024
#define HELD_MAX      65536
#define HELD_FRACTION 32 // of RAM, in buffers
// Fewer left than this part of HELD_MAX: copy small frames aside. Fewer than half of that: drop large
// ones, after taking data out of order from up to OOSEQ_TRIES connections for each.
#define LOW_PART 4
// Three eighths of them are for windows beyond TCP_WND (tcp_rcvbuf.h): less than the half that HTTP may hold.
#define WINDOW_PART(buffers) ((buffers) / 8 * 3)
#define OOSEQ_TRIES	     8

// Only fast WTDs (or threads with WTDs disabled) touch these, on one processor: no lock.
static struct rxbuf *free_list;
static uint32_t maximum, held_maximum;
static uint64_t total, free_now, with_card, held, held_high;
static bool starved; // rxpool_get had none since the last refill
static bool pressed; // a window was kept small since buffers were last plentiful
static void (*refill_hook)(void);
static uint64_t copied_aside, dropped, starvations, ooseq_reclaims, windows_kept;

KSTAT_ROW(rx_free, .name = "pagewire_rx_buffers", .labels = "place=\"free\"",
	  .help = "Receive buffers by place.", .type = KSTAT_GAUGE_T, .value = &free_now);
KSTAT_ROW(rx_card, .name = "pagewire_rx_buffers", .labels = "place=\"card\"",
	  .help = "Receive buffers by place.", .type = KSTAT_GAUGE_T, .value = &with_card);
KSTAT_ROW(rx_held, .name = "pagewire_rx_buffers", .labels = "place=\"held\"",
	  .help = "Receive buffers by place.", .type = KSTAT_GAUGE_T, .value = &held);
KSTAT_GAUGE(held_high, "pagewire_rx_buffers_held_high",
	    "Most receive buffers ever held by the stack and the servers.");
KSTAT_COUNTER(copied_aside, "pagewire_rx_copied_aside_total",
	      "Small frames copied out of their receive buffer because buffers ran low.");
KSTAT_COUNTER(dropped, "pagewire_rx_dropped_total",
	      "Frames dropped because receive buffers ran low.");
KSTAT_COUNTER(starvations, "pagewire_rx_starved_total",
	      "Times the card asked for a receive buffer and there was none.");
KSTAT_COUNTER(ooseq_reclaims, "pagewire_rx_ooseq_reclaimed_total",
	      "Times data out of order was thrown away because receive buffers ran low.");

KSTAT_COUNTER(windows_kept, "pagewire_rx_windows_kept_small_total",
	      "Times a receive window was not opened because receive buffers ran low.");

static struct pool rxbufs =
    POOL_INIT_RAW("rxbuf", struct rxbuf, 0); // grow and rxpool_packet write all of it

static void refill(struct wtd *work)
{
	if (refill_hook)
		refill_hook();
}
static struct wtd refill_work = WTD_INIT(refill, "rx refill");

// Peers that were told of a small window are told of a large one.
static void reopen(struct wtd *work)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		tcp_recved(pcb, 0);
	stack_flush();
}
static struct wtd reopen_work = WTD_INIT(reopen, "rx windows");

void rxpool_set_refill_hook(void (*fn)(void))
{
	refill_hook = fn;
}

void rxpool_init(uint32_t for_card)
{
	struct pmm_stats memory;

	pmm_stats(&memory);
	held_maximum = memory.frames_total * PAGE_SIZE / RXBUF_BYTES / HELD_FRACTION;
	held_maximum = MAX(HELD_MIN, MIN(HELD_MAX, held_maximum));
	maximum = MAX(maximum, held_maximum) + for_card;
	rxbufs.maximum = maximum + PAGE_SIZE / RXBUF_BYTES;
}

static void make_free(struct rxbuf *buf)
{
	buf->place = RX_FREE;
	buf->next_free = free_list;
	free_list = buf;
	free_now++;
	if (starved) {
		starved = false;
		wtd_post_fast(&refill_work);
	}
}

#define PIECE_ORDER 3 // of frames taken at a time, where there are so many in a row; else one
#define PER_FRAME   (PAGE_SIZE / RXBUF_BYTES)

static void give_back(struct rxbuf **made, unsigned count)
{
	while (count--)
		pool_free(&rxbufs, made[count]);
}

// More buffers, of 2^order frames in a row.
static bool grow(unsigned order)
{
	struct rxbuf *made[PER_FRAME << PIECE_ORDER];
	unsigned count = (unsigned)PER_FRAME << order;
	struct page *page;
	uint8_t *data;

	if (total + count > maximum)
		return false;
	page = pmm_alloc(order);
	if (!page)
		return false;
	data = page_virt(page);
	for (unsigned i = 0; i < count; i++) {
		made[i] = pool_alloc(&rxbufs);
		if (!made[i]) {
			give_back(made, i);
			pmm_free(page, order);
			return false;
		}
		made[i]->data = data + i * RXBUF_BYTES;
	}
	total += count;
	while (count--)
		make_free(made[count]);
	return true;
}

struct rxbuf *rxpool_get(paddr_t *addr)
{
	struct rxbuf *buf;

	if (!free_list && !grow(PIECE_ORDER))
		grow(0);
	buf = free_list;
	if (!buf) {
		starved = true;
		starvations++;
		return NULL;
	}
	free_list = buf->next_free;
	free_now--;
	with_card++;
	buf->place = RX_WITH_CARD;
	*addr = virt_to_phys(buf->data);
	return buf;
}

void rxpool_put(struct rxbuf *buf)
{
	ASSERT(buf->place == RX_WITH_CARD);
	with_card--;
	make_free(buf);
}

// Buffers that may yet become HELD.
static uint64_t left(void)
{
	return held < held_maximum ? held_maximum - held : 0;
}

static void rxbuf_free(struct pbuf *p)
{
	struct rxbuf *buf = (struct rxbuf *)(void *)p;

	ASSERT(buf->place == RX_HELD);
	held--;
	make_free(buf);
	if (UNLIKELY(pressed) && left() > held_maximum / LOW_PART * 2) {
		pressed = false;
		wtd_post_fast(&reopen_work);
	}
}

uint32_t rxpool_window_limit(void)
{
	if (LIKELY(left() > held_maximum / LOW_PART))
		return UINT32_MAX;
	if (!pressed)
		tcp_rcvbuf_press();
	pressed = true;
	windows_kept++;
	return 2U * TCP_MSS_OFFER;
}

uint64_t tcp_rcvbuf_most(void)
{
	return pressed ? 0 : (uint64_t)WINDOW_PART(held_maximum) * TCP_MSS_USUAL;
}

static struct pbuf *copy_aside(struct rxbuf *buf, uint32_t bytes)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, bytes, PBUF_RAM);

	if (!p)
		return NULL;
	MEMCPY(p->payload, buf->data, bytes);
	copied_aside++;
	rxpool_put(buf);
	return p;
}

// Takes data out of order from connections until there is room to hold a large frame.
static bool reclaim_ooseq(void)
{
	for (unsigned tries = 0; tries < OOSEQ_TRIES; tries++) {
		uint64_t before = held;

		pbuf_free_ooseq();
		if (held == before)
			return false;
		ooseq_reclaims++;
		if (left() > held_maximum / LOW_PART / 2)
			return true;
	}
	return left() > 0;
}

struct pbuf *rxpool_packet(struct rxbuf *buf, uint32_t bytes)
{
	ASSERT(buf->place == RX_WITH_CARD && bytes <= RXBUF_BYTES);
	if (UNLIKELY(left() <= held_maximum / LOW_PART)) {
		if (bytes <= SMALL_FRAME) {
			struct pbuf *p = copy_aside(buf, bytes);

			if (p)
				return p;
		}
		if (left() <= held_maximum / LOW_PART / 2 && !reclaim_ooseq()) {
			dropped++;
			rxpool_put(buf);
			return NULL;
		}
	}
	with_card--;
	held++;
	held_high = MAX(held_high, held);
	buf->place = RX_HELD;
	buf->custom.custom_free_function = rxbuf_free;
	buf->custom.pbuf = (struct pbuf){.payload = buf->data,
					 .tot_len = (u16_t)bytes,
					 .len = (u16_t)bytes,
					 .type_internal = PBUF_REF,
					 .flags = PBUF_FLAG_IS_CUSTOM,
					 .ref = 1,
					 .if_idx = NETIF_NO_INDEX};
	return &buf->custom.pbuf;
}

static void show(void)
{
	console_printf("Packet receive buffers: %lu (at most %u), %lu with the card, %lu held "
		       "(most ever %lu)\n",
		       (unsigned long)total, maximum, (unsigned long)with_card, (unsigned long)held,
		       (unsigned long)held_high);
}
CONSOLE_SECTION(rx_monitor, "MONITOR", 40, show);
CONSOLE_SECTION(rx_config, "CONFIG", 41, show);
