// SPDX-License-Identifier: BSD-2-Clause
// lwIP's two allocators (mem_*, by size; memp_*, by kind) on our own pools: physically contiguous, so
// that a header can be given to the card as it lies; growing with load up to a bound; not zeroed, as
// lwIP's own are not; counted (pagewire_pool_*). Takes the place of lwIP's mem.c and memp.c. Fast WTD context.
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mem.h"
#include "lwip/memp.h"
#include "lwip/mld6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"

// ---- by kind: one pool for each line of lwIP's memp_std.h ------------------------------------------

static struct pool kinds[MEMP_MAX] = {
#define LWIP_MEMPOOL(kind, num, size, desc)                                                        \
	[MEMP_##kind] = {.name = "lwip_" #kind,                                                    \
			 .object_bytes = (size),                                                   \
			 .align = MEM_ALIGNMENT,                                                   \
			 .maximum = (num),                                                         \
			 .raw = true,                                                              \
			 .lock = SPINLOCK_INIT("lwip_" #kind, RANK_POOL)},
#include "lwip/priv/memp_std.h"
};

void memp_init(void) {}

void *memp_malloc(memp_t type)
{
	ASSERT(type < MEMP_MAX);
	return pool_alloc(&kinds[type]);
}

void memp_free(memp_t type, void *object)
{
	ASSERT(type < MEMP_MAX);
	if (object)
		pool_free(&kinds[type], object);
}

// ---- by size: classes, and whole pages for the few datagrams that are longer than a frame -----------

// Lies in front of what mem_malloc returns.
struct size_head {
	uint32_t magic; // of a class, or of whole pages
	uint32_t what;	// which class, or how many bytes of pages
};
_Static_assert(sizeof(struct size_head) % MEM_ALIGNMENT == 0, "what follows it stays aligned");
#define CLASS_MAGIC 0x6d656d68U
#define PAGES_MAGIC 0x70616765U

// Users: 192 holds a pbuf with link, IP and TCP headers (one for each segment queued, see
// MEMP_NUM_TCP_SEG) and the small state of DHCP and MLD; 2048 holds a pbuf with a whole frame (response
// heads, generated bodies: TCP_SND_BUF of each of 64 connections at once; ICMP replies); the two
// between, short generated pieces and receive buffers copied aside.
#define SIZE_CLASS(text, bytes, max)                                                               \
	{                                                                                          \
		.name = (text), .object_bytes = (bytes), .align = 16, .maximum = (max),            \
		.raw = true, .lock = SPINLOCK_INIT(text, RANK_POOL)                                \
	}
static struct pool classes[] = {
    SIZE_CLASS("lwip_mem_192", 192, MEMP_NUM_TCP_SEG + 4096),
    SIZE_CLASS("lwip_mem_512", 512, 32768),
    SIZE_CLASS("lwip_mem_1024", 1024, 16384),
    SIZE_CLASS("lwip_mem_2048", 2048, 64 * (TCP_SND_BUF / TCP_MSS_USUAL) + 1024),
};

// Echo replies to pings of more than a frame: nobody needs many at once.
#define LARGE_MAX 16
static uint64_t large;
KSTAT_GAUGE(large, "pagewire_net_large_buffers", "Buffers for datagrams longer than a frame.");

void mem_init(void) {}

static void *large_malloc(mem_size_t size)
{
	struct size_head *head;

	if (large == LARGE_MAX || size > UINT16_MAX + 1024U)
		return NULL;
	size += sizeof(*head);
	head = kpages_alloc(size);
	if (!head)
		return NULL;
	*head = (struct size_head){PAGES_MAGIC, size};
	large++;
	return head + 1;
}

void *mem_malloc(mem_size_t size)
{
	for (uint32_t class = 0; class < ARRAY_SIZE(classes); class ++) {
		struct size_head *head;

		if (size > classes[class].object_bytes - sizeof(*head))
			continue;
		head = pool_alloc(&classes[class]);
		if (!head)
			return NULL;
		*head = (struct size_head){CLASS_MAGIC, class};
		return head + 1;
	}
	return large_malloc(size);
}

void *mem_calloc(mem_size_t count, mem_size_t size)
{
	if (size && count > (mem_size_t)-1 / size)
		return NULL;
	void *p = mem_malloc(count * size);
	return p ? memset(p, 0, count * size) : NULL;
}

void mem_free(void *p)
{
	struct size_head *head = (struct size_head *)p - 1;

	if (!p)
		return;
	if (head->magic == PAGES_MAGIC) {
		large--;
		kpages_free(head, head->what);
		return;
	}
	ASSERT(head->magic == CLASS_MAGIC && head->what < ARRAY_SIZE(classes));
	pool_free(&classes[head->what], head);
}

// Shrinking in place: the object stays in its class.
void *mem_trim(void *p, mem_size_t size)
{
	return p;
}
