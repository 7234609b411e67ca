// SPDX-License-Identifier: BSD-2-Clause
// Spin locks: what is allowed works, what is not is a panic that names both sides.
#include "kernel/lock.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"

static struct spinlock outer = SPINLOCK_INIT("test-outer", RANK_HTTP);
static struct spinlock inner = SPINLOCK_INIT("test-inner", RANK_NET);

static bool interrupts_on(void)
{
	bool on = irq_save();

	irq_restore(on);
	return on;
}

KTEST("lock", nests, "locks-nest-by-rank-and-may-be-dropped-in-any-order")
{
	EXPECT_EQ(spin_rank_held(), 0);
	spin_lock_wtd(&outer);
	spin_lock_irq(&inner);
	EXPECT_EQ(spin_rank_held(), RANK_NET);
	EXPECT(!interrupts_on());
	EXPECT(strcmp(inner.holder, "ktest_nests") == 0);
	spin_unlock_wtd(&outer);
	EXPECT(!spin_held(&outer));
	EXPECT(spin_held(&inner));
	spin_unlock_irq(&inner);
	EXPECT(interrupts_on());
	EXPECT_EQ(spin_rank_held(), 0);
}

KTEST("lock", irq_state, "the-outermost-interrupt-lock-gives-interrupts-back")
{
	spin_lock_irq(&outer);
	spin_lock_irq(&inner);
	spin_unlock_irq(&inner);
	EXPECT(!interrupts_on());
	spin_unlock_irq(&outer);
	EXPECT(interrupts_on());
}

static void wrong_order(void *arg)
{
	spin_lock_wtd(&inner);
	spin_lock_wtd(&outer);
}

static void twice(void *arg)
{
	spin_lock_wtd(&outer);
	spin_lock_wtd(&outer);
}

static void not_held(void *arg)
{
	spin_lock_wtd(&outer);
	spin_unlock_wtd(&outer);
	spin_unlock_wtd(&outer);
}

static void wrong_kind(void *arg)
{
	spin_lock_wtd(&outer);
	spin_unlock_irq(&outer);
}

static void enable_too_often(void *arg)
{
	wtd_enable();
}

KTEST("lock", wrong, "wrong-order-twice-not-held-and-wrong-kind-are-panics")
{
	EXPECT(ktest_panics(wrong_order, NULL));
	EXPECT(strstr(ktest_panic_text(), "test-outer") != NULL);
	EXPECT(strstr(ktest_panic_text(), "test-inner") != NULL);
	EXPECT(strstr(ktest_panic_text(), "wrong_order") != NULL);
	EXPECT(ktest_panics(twice, NULL));
	EXPECT(strstr(ktest_panic_text(), "again") != NULL);
	EXPECT(ktest_panics(not_held, NULL));
	EXPECT(ktest_panics(wrong_kind, NULL));
	EXPECT(ktest_panics(enable_too_often, NULL));
	EXPECT(!spin_held(&outer) && !spin_held(&inner));
	EXPECT_EQ(this_cpu()->wtd_disabled, 0);
}

static void foreign_lock(void *arg)
{
	spin_lock_wtd(arg);
}

KTEST("lock", too_long, "a-lock-that-never-comes-free-panics-with-its-holder")
{
	struct spinlock stuck = SPINLOCK_INIT("test-stuck", RANK_HTTP);

	stuck.held = 1; // by another processor, as far as this one can see
	stuck.holder = "somebody";
	EXPECT(ktest_panics(foreign_lock, &stuck));
	EXPECT(strstr(ktest_panic_text(), "somebody") != NULL);
}

static volatile uint32_t runs;

static void count(struct wtd *work)
{
	runs++;
}

KTEST("lock", keeps_wtds_out, "fast-wtds-wait-for-a-lock-and-run-when-it-is-dropped")
{
	static struct wtd work = WTD_INIT(count, "test");

	runs = 0;
	spin_lock_wtd(&outer);
	wtd_post_fast(&work);
	EXPECT_EQ(runs, 0);
	spin_unlock_wtd(&outer);
	EXPECT_EQ(runs, 1);
	spin_lock_irq(&outer);
	wtd_post_fast(&work);
	EXPECT_EQ(runs, 1);
	spin_unlock_irq(&outer);
	EXPECT_EQ(runs, 2);
}
