// SPDX-License-Identifier: BSD-2-Clause
// The shim's own promises, which every other host test leans on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "kernel/wtd.h"
#include "shim.h"

static int setup(void **state)
{
	shim_init(64);
	return 0;
}

static int teardown(void **state)
{
	shim_finish();
	return 0;
}

static char order[16];
static void note(char c)
{
	size_t n = strlen(order);
	assert_true(n + 1 < sizeof(order));
	order[n] = c;
}

static struct spinlock lock = SPINLOCK_INIT("test", RANK_NAME);
static struct spinlock outer_lock = SPINLOCK_INIT("outer", RANK_NET);
static struct waitq waiting;
static bool flag;

static void sleeper(struct wtd *work)
{
	note('a');
	spin_lock_wtd(&lock);
	while (!flag)
		waitq_sleep(&waiting, &lock);
	spin_unlock_wtd(&lock);
	note('d');
}

static void fast(struct wtd *work)
{
	note('b');
}

static void waker(struct wtd *work)
{
	note('c');
	flag = true;
	waitq_wake_all(&waiting);
}

static void a_sleeping_worker_does_not_stop_others(void **state)
{
	struct wtd one = WTD_INIT(sleeper, "sleeper"), two = WTD_INIT(fast, "fast"),
		   three = WTD_INIT(waker, "waker");
	memset(order, 0, sizeof(order));
	flag = false;
	assert_true(wtd_post(&one));
	assert_false(wtd_post(&one));
	assert_true(wtd_post_after(&three, WTD_SLEEP, 100));
	assert_true(shim_run_one());
	assert_true(wtd_post_fast(&two));
	assert_int_equal(shim_run(), 1);
	assert_string_equal(order, "ab");
	shim_advance(99);
	assert_string_equal(order, "ab");
	shim_advance(1);
	assert_string_equal(order, "abcd");
}

static void the_test_itself_may_sleep(void **state)
{
	struct wtd three = WTD_INIT(waker, "waker");
	memset(order, 0, sizeof(order));
	flag = false;
	uint64_t start = clock_ns();
	wtd_post_after(&three, WTD_SLEEP, 5000);
	spin_lock_wtd(&lock);
	assert_false(waitq_sleep_for(&waiting, &lock, 1000));
	assert_int_equal(clock_ns() - start, 1000);
	while (!flag)
		waitq_sleep(&waiting, &lock);
	spin_unlock_wtd(&lock);
	assert_int_equal(clock_ns() - start, 5000);
}

static void sleep_for_ever(void *arg)
{
	spin_lock_wtd(&lock);
	waitq_sleep(&waiting, &lock);
}

static void wrong_rank(void *arg)
{
	spin_lock_wtd(&lock);
	spin_lock_wtd(&outer_lock);
}

static void double_free(void *arg)
{
	pmm_free(arg, 0);
}

static void broken_promises_panic(void **state)
{
	assert_true(shim_panics(wrong_rank, NULL));
	assert_non_null(strstr(shim_panic_text(), "rank"));
	assert_true(may_sleep());
	struct page *page = pmm_alloc(0);
	pmm_free(page, 0);
	assert_true(shim_panics(double_free, page));
	assert_true(shim_panics(sleep_for_ever, NULL));
	assert_non_null(strstr(shim_panic_text(), "deadlock"));
	waitq_init(&waiting);
}

static void a_block_is_freed_frame_by_frame(void **state)
{
	struct page *page = pmm_alloc(4);
	assert_non_null(page);
	assert_int_equal(page_phys(page) % (16 * PAGE_SIZE), 0);
	for (int i = 0; i < 16; i++)
		pmm_free(page + i, 0);
	assert_int_equal(shim_frames_free(), 64);
}

static void a_hidden_page_is_still_reached_by_devices(void **state)
{
	char text[6] = "";
	shim_set_unmapped(true);
	struct page *page = pmm_alloc(0);
	vmm_hide(page);
	shim_dma_write(page_phys(page), "hello", 6);
	shim_dma_read(page_phys(page), text, 6);
	assert_string_equal(text, "hello");
	assert_string_equal(vmm_window_open(page), "hello");
	vmm_window_close(page);
	vmm_show(page);
	pmm_free(page, 0);
}

struct thing {
	uint64_t a, b;
};
static struct pool things = POOL_INIT("things", struct thing, 300);

static void a_pool_stops_at_its_maximum(void **state)
{
	struct thing *all[300];
	for (int i = 0; i < 300; i++) {
		all[i] = pool_alloc(&things);
		assert_non_null(all[i]);
		assert_int_equal(all[i]->b, 0);
	}
	assert_null(pool_alloc(&things));
	for (int i = 0; i < 300; i++)
		pool_free(&things, all[i]);
	pool_fail_after(0);
	assert_null(pool_alloc(&things));
	pool_fail_off();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_sleeping_worker_does_not_stop_others, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(the_test_itself_may_sleep, setup, teardown),
	    cmocka_unit_test_setup_teardown(broken_promises_panic, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_block_is_freed_frame_by_frame, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_hidden_page_is_still_reached_by_devices, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_pool_stops_at_its_maximum, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
