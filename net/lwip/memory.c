// SPDX-License-Identifier: BSD-2-Clause
// lwIP's two allocators (mem_*, by size; memp_*, by kind) on our own pools: physically contiguous, so
// that a header can be given to the card as it lies; growing with load up to a bound; counted
// (pagewire_pool_*). Takes the place of lwIP's mem.c and memp.c. Fast WTD context.
#include "kernel/panic.h"
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

// ---- by size: classes of powers of two --------------------------------------------------------------

// Lies in front of what mem_malloc returns.
struct size_head {
	uint32_t class;
	uint32_t magic;
};
_Static_assert(sizeof(struct size_head) % MEM_ALIGNMENT == 0, "what follows it stays aligned");
#define SIZE_MAGIC 0x6d656d68U

// Users: 192 holds a pbuf with link, IP and TCP headers (one for each segment queued, see
// MEMP_NUM_TCP_SEG) and the small state of DHCP and MLD; 2048 holds a pbuf with a whole frame (response
// heads, generated bodies: TCP_SND_BUF of each of 64 connections at once; ICMP replies); the two
// between, short generated pieces.
#define SIZE_CLASS(text, bytes, max)                                                               \
	{                                                                                          \
		.name = (text), .object_bytes = (bytes), .align = 16, .maximum = (max),            \
		.lock = SPINLOCK_INIT(text, RANK_POOL)                                             \
	}
static struct pool classes[] = {
    SIZE_CLASS("lwip_mem_192", 192, MEMP_NUM_TCP_SEG + 4096),
    SIZE_CLASS("lwip_mem_512", 512, 32768),
    SIZE_CLASS("lwip_mem_1024", 1024, 16384),
    SIZE_CLASS("lwip_mem_2048", 2048, 64 * (TCP_SND_BUF / TCP_MSS) + 1024),
};

void mem_init(void) {}

void *mem_malloc(mem_size_t size)
{
	for (uint32_t class = 0; class < ARRAY_SIZE(classes); class ++) {
		struct size_head *head;

		if (size > classes[class].object_bytes - sizeof(*head))
			continue;
		head = pool_alloc(&classes[class]);
		if (!head)
			return NULL;
		head->class = class;
		head->magic = SIZE_MAGIC;
		return head + 1;
	}
	return NULL; // more than a frame: an oversized datagram, the caller drops it
}

void *mem_calloc(mem_size_t count, mem_size_t size)
{
	if (size && count > (mem_size_t)-1 / size)
		return NULL;
	return mem_malloc(count * size); // pool objects come zeroed
}

void mem_free(void *p)
{
	struct size_head *head = (struct size_head *)p - 1;

	if (!p)
		return;
	ASSERT(head->magic == SIZE_MAGIC && head->class < ARRAY_SIZE(classes));
	pool_free(&classes[head->class], head);
}

// Shrinking in place: the object stays in its class.
void *mem_trim(void *p, mem_size_t size)
{
	return p;
}
