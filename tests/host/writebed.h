// SPDX-License-Identifier: BSD-2-Clause
// What the tests of writing through the page cache share. Included by one test file at a time.
#pragma once

#include "cachebed.h"

#include "fs/transaction.h"
#include "kernel/copy.h"

static char bytes[64 * PAGE_SIZE]; // 1 to 127: neither zeros nor what is on a fresh disk

__attribute__((unused)) static int setup_bytes(void **state)
{
	setup_writable(state);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(1 + shim_random_below(127));
	return 0;
}

__attribute__((unused)) static int setup_bytes_small_blocks(void **state)
{
	fake_rules.block_bytes = 1024;
	return setup_bytes(state);
}

__attribute__((unused)) static struct inode *new_file(void)
{
	return open_file(fake_new_file(FAKE_ROOT, "new"));
}

// Byte `at` of the file as a reader gets it.
__attribute__((unused)) static unsigned read_byte(struct inode *inode, uint64_t at)
{
	struct page *page;
	uint8_t byte;
	assert_int_equal(pagecache_get_wait(inode, at >> PAGE_SHIFT, &page), 0);
	shim_dma_read(page_phys(page) + at % PAGE_SIZE, &byte, 1);
	page_wire_put(page);
	return byte;
}

__attribute__((unused)) static void assert_file(struct inode *inode, uint64_t at, const char *want,
						size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (read_byte(inode, at + i) != (uint8_t)want[i])
			fail_msg("byte %zu is %u", at + i, read_byte(inode, at + i));
}

__attribute__((unused)) static void assert_on_disk(struct inode *inode, uint64_t at,
						   const char *want, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (fake_disk_byte(inode->number, at + i) != (uint8_t)want[i])
			fail_msg("byte %zu on the disk is %u", at + i,
				 fake_disk_byte(inode->number, at + i));
}
