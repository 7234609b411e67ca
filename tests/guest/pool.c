// SPDX-License-Identifier: BSD-2-Clause
// Pools: what include/kernel/pool.h promises.
#include "kernel/pool.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/vmm.h"

struct object {
	uint64_t words[12];
};
static struct pool small = POOL_INIT("test-pool", struct object, 100);

struct big {
	uint8_t bytes[6000];
};
static struct pool large = POOL_INIT("test-pool-large", struct big, 8);

struct aligned {
	uint8_t bytes[100];
} __attribute__((aligned(512)));
static struct pool fussy = POOL_INIT("test-pool-aligned", struct aligned, 8);

static bool all(const void *object, size_t from, size_t to, uint8_t value)
{
	const uint8_t *bytes = object;

	for (size_t n = from; n < to; n++)
		if (bytes[n] != value)
			return false;
	return true;
}

KTEST("pool", maximum, "the-maximum-is-null-counted-and-no-more")
{
	struct object *taken[100];
	uint64_t failed = small.failed;

	for (int n = 0; n < 100; n++) {
		taken[n] = pool_alloc(&small);
		EXPECT(taken[n] != NULL);
	}
	EXPECT_EQ(small.used, 100);
	EXPECT(pool_alloc(&small) == NULL);
	EXPECT_EQ(small.failed, failed + 1);
	EXPECT(pool_high(&small) >= 100);
	pool_free(&small, taken[50]);
	EXPECT(pool_alloc(&small) == taken[50]);
	for (int n = 0; n < 100; n++)
		pool_free(&small, taken[n]);
	EXPECT_EQ(small.used, 0);
}

KTEST("pool", contents, "fresh-objects-are-zero-and-freed-ones-junk")
{
	struct object *o = pool_alloc(&small);
	struct big *b = pool_alloc(&large);

	EXPECT(o && b && all(o, 0, sizeof(*o), 0) && all(b, 0, sizeof(*b), 0));
	if (!o || !b)
		return;
	memset(o, 0xff, sizeof(*o));
	memset(b, 0xff, sizeof(*b));
	pool_free(&small, o);
	pool_free(&large, b);
	EXPECT(all(o, 16, sizeof(*o), POOL_JUNK)); // under selftest
	EXPECT(all(b, 16, sizeof(*b), POOL_JUNK));
	EXPECT(pool_alloc(&small) == o && all(o, 0, sizeof(*o), 0));
	pool_free(&small, o);
}

KTEST("pool", raw, "a-raw-pool-does-not-zero")
{
	static struct pool raw = {.name = "test-pool-raw",
				  .object_bytes = 2048,
				  .align = 64,
				  .maximum = 4,
				  .raw = true,
				  .lock = SPINLOCK_INIT("test-pool-raw", RANK_POOL)};
	uint8_t *o = pool_alloc(&raw);

	EXPECT(o != NULL);
	if (!o)
		return;
	memset(o, 0x77, 2048);
	pool_free(&raw, o);
	EXPECT(pool_alloc(&raw) == o);
	EXPECT(!all(o, 64, 2048, 0));
	pool_free(&raw, o);
}

KTEST("pool", contiguous, "objects-are-aligned-and-within-ram-a-device-can-reach")
{
	struct aligned *a = pool_alloc(&fussy), *b = pool_alloc(&fussy);
	struct big *c = pool_alloc(&large);

	EXPECT(a && b && c);
	EXPECT_EQ((uintptr_t)a % 512, 0);
	EXPECT_EQ((uintptr_t)b % 512, 0);
	EXPECT_EQ(virt_to_phys((char *)c + sizeof(*c) - 1) - virt_to_phys(c), sizeof(*c) - 1);
	pool_free(&fussy, a);
	pool_free(&fussy, b);
	pool_free(&large, c);
}

static void free_twice(void *arg)
{
	pool_free(&small, arg);
	pool_free(&small, arg);
}

// Breaks its free list for good: a pool of its own, never used again.
static struct pool broken = POOL_INIT("test-pool-broken", struct object, 4);

static void write_after_free(void *arg)
{
	struct object *o = pool_alloc(&broken);

	pool_free(&broken, o);
	o->words[1] = 1;
	EXPECT(pool_alloc(&broken) == NULL);
}

KTEST("pool", twice, "freeing-twice-panics-with-the-pool")
{
	struct object *o = pool_alloc(&small);

	EXPECT(ktest_panics(free_twice, o));
	EXPECT(strstr(ktest_panic_text(), "test-pool") != NULL);
	EXPECT(strstr(ktest_panic_text(), "twice") != NULL);
}

KTEST("pool", use_after_free, "writing-to-a-freed-object-panics-at-the-next-allocation")
{
	EXPECT(ktest_panics(write_after_free, NULL));
	EXPECT(strstr(ktest_panic_text(), "test-pool-broken") != NULL);
}

KTEST("pool", reserve, "what-is-reserved-cannot-fail-later")
{
	static struct pool reserved = POOL_INIT("test-pool-reserved", struct object, 64);

	EXPECT(pool_reserve(&reserved, 64));
	EXPECT(reserved.total >= 64);
	EXPECT_EQ(reserved.used, 0);
	EXPECT(!pool_reserve(&reserved, 65));
}

KTEST("pool", injected, "failure-injection-refuses-the-kth-and-all-after")
{
	struct object *a, *b;
	uint64_t failed = small.failed;

	pool_fail_named("test-pool", 2);
	a = pool_alloc(&small);
	b = pool_alloc(&small);
	EXPECT(a && b);
	EXPECT(pool_alloc(&small) == NULL);
	EXPECT(pool_alloc(&small) == NULL);
	EXPECT_EQ(small.failed, failed + 2);
	pool_fail_off();
	pool_free(&small, a);
	pool_free(&small, b);
}

KTEST("pool", listed, "every-pool-in-use-is-listed-once")
{
	unsigned seen = 0;

	pool_free(&small, pool_alloc(&small));
	for (const struct pool *p = pool_first(); p; p = p->next)
		seen += p == &small;
	EXPECT_EQ(seen, 1);
}
