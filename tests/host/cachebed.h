// SPDX-License-Identifier: BSD-2-Clause
// What the tests of the page cache share. Included by one test file at a time.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fakefs.h"
#include "fs/pagecache_private.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/thread.h"
#include "kernel/vmm.h"
#include "shim.h"

static struct volume *volume;

__attribute__((unused)) static int setup(void **state)
{
	volume = fake_start(4096);
	return 0;
}

__attribute__((unused)) static int setup_small_blocks(void **state)
{
	fake_rules.block_bytes = 1024;
	return setup(state);
}

__attribute__((unused)) static int setup_writable(void **state)
{
	fake_rules.writable = true;
	return setup(state);
}

__attribute__((unused)) static int setup_writable_small_blocks(void **state)
{
	fake_rules.block_bytes = 1024;
	return setup_writable(state);
}

static int teardown(void **state)
{
	return fake_stop();
}

static struct inode *open_file(uint64_t number)
{
	struct inode *inode;
	assert_int_equal(inode_open(volume, number, &inode), 0);
	return inode;
}

struct asked {
	struct page_get get;
	unsigned told;
	bool in_get; // done must not be called from inside pagecache_get
};

__attribute__((unused)) static void told(struct page_get *get)
{
	struct asked *a = CONTAINER_OF(get, struct asked, get);
	assert_false(a->in_get);
	a->told++;
}

__attribute__((unused)) static void ask(struct asked *a, struct inode *inode, uint64_t index)
{
	*a = (struct asked){.get = {.inode = inode, .index = index, .done = told}};
	a->in_get = true;
	pagecache_get(&a->get);
	a->in_get = false;
}

struct writing {
	struct file_write write;
	unsigned told;
	bool in_write; // done must not be called from inside file_write
};

__attribute__((unused)) static void write_told(struct file_write *write)
{
	struct writing *w = CONTAINER_OF(write, struct writing, write);
	assert_false(w->in_write);
	w->told++;
}

__attribute__((unused)) static int start_write(struct writing *w, struct inode *inode,
					       uint64_t offset, const void *bytes, size_t len)
{
	*w = (struct writing){
	    .write = {
		.inode = inode, .offset = offset, .bytes = bytes, .len = len, .done = write_told}};
	w->in_write = true;
	int status = file_write(&w->write);
	w->in_write = false;
	return status;
}

// Until all of it is taken.
__attribute__((unused)) static int write_at(struct inode *inode, uint64_t offset, const void *bytes,
					    size_t len)
{
	struct writing w;
	int status = start_write(&w, inode, offset, bytes, len);
	if (status != -EAGAIN)
		return status;
	for (unsigned i = 0; i < 1000 && !w.told; i++)
		shim_advance(NS_PER_MS);
	assert_int_equal(w.told, 1);
	return w.write.status;
}

__attribute__((unused)) static uint64_t in_cache(struct inode *inode)
{
	return inode_page_owner(inode)->pages;
}
