// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: fs/zeros.c
// Arrays of zeros (fs/zeros.h) against an ordinary one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs/zeros.h"
#include "shim.h"

static void what_was_never_written_is_zero_whatever_the_memory_held(void **state)
{
	enum { ENTRIES = 3 * PAGE_SIZE / sizeof(uint32_t) + 5 };
	static uint32_t model[ENTRIES];
	size_t free = shim_frames_free();
	struct zeros z;

	assert_true(zeros_make(&z, sizeof(model)));
	for (int n = 0; n < 2000; n++) {
		size_t i = shim_random() % ENTRIES;

		if (n % 3 == 0)
			*(uint32_t *)zeros_write(&z, i, sizeof(uint32_t)) = model[i] =
			    (uint32_t)shim_random();
		i = shim_random() % ENTRIES;
		assert_int_equal(*(const uint32_t *)zeros_read(&z, i, sizeof(uint32_t)), model[i]);
	}
	for (size_t i = 0; i < ENTRIES; i++)
		assert_int_equal(*(const uint32_t *)zeros_read(&z, i, sizeof(uint32_t)), model[i]);
	zeros_free(&z);
	assert_int_equal(shim_frames_free(), free);
}

static void array_of_two_blocks(void **state)
{
	size_t bytes = ZEROS_BLOCK + 3 * PAGE_SIZE, last = bytes / sizeof(uint32_t) - 1;
	struct zeros z;

	assert_true(zeros_make(&z, bytes));
	*(uint32_t *)zeros_write(&z, last, sizeof(uint32_t)) = 7;
	assert_int_equal(*(const uint32_t *)zeros_read(&z, last, sizeof(uint32_t)), 7);
	assert_int_equal(*(const uint32_t *)zeros_read(&z, last - 1, sizeof(uint32_t)), 0);
	assert_int_equal(*(const uint32_t *)zeros_read(&z, last % (ZEROS_BLOCK / sizeof(uint32_t)),
						       sizeof(uint32_t)),
			 0);
	zeros_free(&z);
}

static void no_memory_leaves_nothing_behind(void **state)
{
	struct zeros z;

	for (uint32_t k = 0; k < 3; k++) {
		shim_frames_fail_after(k);
		assert_false(zeros_make(&z, ZEROS_BLOCK + PAGE_SIZE));
	}
	shim_frames_fail_off();
}

static int setup(void **state)
{
	shim_init(4096);
	return 0;
}

static int teardown(void **state)
{
	shim_finish();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_was_never_written_is_zero_whatever_the_memory_held,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(array_of_two_blocks, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_memory_leaves_nothing_behind, setup, teardown),
	};
	return cmocka_run_group_tests_name("zeros", tests, NULL, NULL);
}
