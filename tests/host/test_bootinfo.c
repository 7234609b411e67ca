// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/bootinfo.c
// The loader's information: well-formed Multiboot2 and PVH blocks, every one-byte corruption and random
// ones of them (nothing outside is read, the ranges stay sorted and apart), and the range arithmetic
// against a model that knows every frame.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/bootinfo.h"
#include "kernel/kstring.h"
#include "shim.h"

#define AT 0x10000UL // where the loader's block lies, "physically"

struct block {
	uint8_t *bytes; // from malloc, of exactly `len` bytes: ASan watches its ends
	size_t len;
};
static const void *read_block(void *ctx, paddr_t addr, uint64_t len)
{
	struct block *b = ctx;
	if (addr < AT || addr - AT > b->len || len > b->len - (addr - AT))
		return NULL;
	return b->bytes + (addr - AT);
}

static uint8_t build[4096];
static size_t build_len;
static void put(const void *data, size_t len)
{
	memcpy(build + build_len, data, len);
	build_len += len;
}
static void put32(uint32_t value)
{
	put(&value, 4);
}
static void put64(uint64_t value)
{
	put(&value, 8);
}
static void pad(void)
{
	while (build_len % 8)
		build[build_len++] = 0xaa;
}
static void set32(size_t at, uint32_t value)
{
	memcpy(build + at, &value, 4);
}
static void entry(uint64_t base, uint64_t length, uint32_t type)
{
	put64(base);
	put64(length);
	put32(type);
	put32(0);
}
static struct block finish(void)
{
	struct block b = {malloc(build_len), build_len};
	memcpy(b.bytes, build, build_len);
	return b;
}

static struct block multiboot2(void)
{
	build_len = 0;
	put32(0), put32(0);
	put32(1), put32(8 + 17), put("selftest nic=late", 17), pad(); // no terminator of its own
	put32(3), put32(17), put32(0x300000), put32(0x300800), put("", 1), pad();
	put32(6), put32(16 + 5 * 24), put32(24), put32(0);
	entry(0x100000, 0x3f00000, 1);
	entry(0, 0x9fc00, 1);
	entry(0x9fc00, 0x400, 2);
	entry(0x100000000, 0x40000000, 1);
	entry(0xfffffffffffff000, 0x2000, 1); // runs over the end of the address space
	put32(8), put32(38), put64(0xfd000000), put32(4096), put32(1024), put32(768);
	put("\x20\x01\0\0\x10\x08\x08\x08\0\x08", 10), pad();
	put32(15), put32(8 + 36), put("RSD PTR new-------------------------", 36), pad();
	put32(14), put32(8 + 20), put("RSD PTR old---------", 20), pad();
	put32(0), put32(8);
	set32(0, (uint32_t)build_len);
	return finish();
}

static struct block pvh(void)
{
	build_len = 0;
	put32(0x336ec578), put32(1), put32(0), put32(1);
	put64(AT + 56), put64(AT + 56 + 32 + 48), put64(0xf5a00), put64(AT + 56 + 32);
	put32(2), put32(0);
	put64(0x200000), put64(0x1000), put64(0), put64(0);
	entry(0, 0xa0000, 1);
	entry(0x100000, 0x1ff00000, 1);
	put("cache=unmapped", 15);
	return finish();
}

static struct boot_info info;
static bool parse(enum boot_door door, struct block *b)
{
	struct boot_reader reader = {read_block, b};
	memset(&info, 0, sizeof info);
	return bootinfo_parse(door, AT, &reader, &info);
}

static void check_invariants(void)
{
	assert_true(info.range_count <= BOOT_MAX_RANGES);
	for (unsigned i = 0; i < info.range_count; i++) {
		assert_true(info.ranges[i].start < info.ranges[i].end);
		assert_int_equal((info.ranges[i].start | info.ranges[i].end) % PAGE_SIZE, 0);
		assert_true(!i || info.ranges[i - 1].end <= info.ranges[i].start);
	}
	assert_true(strnlen(info.cmdline, sizeof info.cmdline) < sizeof info.cmdline);
	if (info.framebuffer) {
		assert_true(info.fb_pitch >= info.fb_width * info.fb_bpp / 8);
		assert_true(info.fb_red_shift < 32 && info.fb_green_shift < 32 &&
			    info.fb_blue_shift < 32);
	}
}

static bool usable(paddr_t addr)
{
	for (unsigned i = 0; i < info.range_count; i++)
		if (info.ranges[i].start <= addr && addr < info.ranges[i].end)
			return info.ranges[i].usable;
	return false;
}

static void multiboot2_is_read(void **state)
{
	struct block b = multiboot2();
	assert_true(parse(DOOR_MULTIBOOT2, &b));
	free(b.bytes);
	check_invariants();
	assert_string_equal(info.loader, "multiboot2");
	assert_string_equal(info.cmdline, "selftest nic=late");
	assert_true(usable(0x9e000) && !usable(0x9f000)); // a frame that is usable in part is not
	assert_true(usable(0x2ff000) && !usable(0x300000) && usable(0x301000)); // the module
	assert_true(usable(0x13fffffff) && !usable(0x140000000));
	assert_int_equal(info.framebuffer, 0xfd000000);
	assert_int_equal(info.fb_width, 1024);
	assert_int_equal(info.fb_red_shift, 16);
	assert_memory_equal(info.rsdp_copy, "RSD PTR new", 11);
	assert_false(info.text_mode);
}

static void pvh_is_read(void **state)
{
	struct block b = pvh();
	assert_true(parse(DOOR_PVH, &b));
	free(b.bytes);
	check_invariants();
	assert_string_equal(info.cmdline, "cache=unmapped");
	assert_int_equal(info.rsdp, 0xf5a00);
	assert_true(usable(0x1000) && usable(0x1ff000) && !usable(0x200000) && usable(0x201000));
	assert_true(info.text_mode);
}

static void corruptions_read_nothing_outside(void **state)
{
	static const uint8_t values[] = {0, 1, 7, 8, 0x7f, 0x80, 0xfe, 0xff};
	for (int door = 0; door < 2; door++) {
		struct block b = door ? pvh() : multiboot2(), c = {malloc(b.len), b.len};
		for (size_t i = 0; i < b.len; i++)
			for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
				memcpy(c.bytes, b.bytes, b.len);
				c.bytes[i] = values[v];
				parse((enum boot_door)door, &c);
				check_invariants();
			}
		for (int n = 0; n < 100000; n++) {
			memcpy(c.bytes, b.bytes, b.len);
			for (uint64_t k = 1 + shim_random_below(6); k; k--)
				c.bytes[shim_random_below(b.len)] = (uint8_t)shim_random();
			parse((enum boot_door)door, &c);
			check_invariants();
		}
		for (size_t len = 0; len < b.len; len++) { // cut short
			struct block cut = {malloc(len + !len), len};
			memcpy(cut.bytes, b.bytes, len);
			assert_false(parse((enum boot_door)door, &cut) && len < 40);
			free(cut.bytes);
		}
		free(b.bytes);
		free(c.bytes);
	}
}

static void entries_at_the_end_of_addresses_invent_no_memory(void **state)
{
	static const struct {
		uint64_t base, length;
	} odd[] = {{0xfffffffffffffff0, 0x10},	     {0xfffffffffffffff0, 8},
		   {0xfffffffffffff000, 0x1000},     {0xffffffffffffffff, 0xffffffffffffffff},
		   {1UL << 52, 1UL << 30},	     {1UL << 47, 1UL << 30},
		   {(1UL << 46) - 0x800, 1UL << 40}, {0x123, 0}};
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		build_len = 0;
		put32(0x336ec578), put32(1), put32(0), put32(0);
		put64(0), put64(0), put64(0), put64(AT + 56), put32(2), put32(0);
		entry(0x100000, 0x100000, 1);
		entry(odd[i].base, odd[i].length, 1);
		struct block b = finish();
		assert_true(parse(DOOR_PVH, &b));
		free(b.bytes);
		check_invariants();
		assert_int_equal(info.range_count, 1);
		assert_true(usable(0x100000) && usable(0x1ff000) && !usable(0x200000));
	}
}

static void a_range_that_costs_more_than_it_brings_is_dropped(void **state)
{
	memset(&info, 0, sizeof info);
	bootinfo_add_range(&info, 0x100000, 0x103000,
			   true); // small, but nothing is saved without it
	bootinfo_reserve(&info, 0x103000, 0x200000);
	bootinfo_add_range(&info, 0x200000, 0x80000000, true);
	bootinfo_add_range(&info, 0x100000000, 0x180000000, true); // 2 GB behind a hole of 2
	assert_int_equal(bootinfo_drop_far(&info), 0);
	bootinfo_add_range(&info, 1UL << 45, (1UL << 45) + 0x4000000, true);
	bootinfo_reserve(&info, (1UL << 45) + 0x4000000, (1UL << 45) + 0x4001000);
	bootinfo_add_range(&info, (1UL << 45) + 0x4001000, (1UL << 45) + 0x5000000, true);
	assert_int_equal(bootinfo_drop_far(&info), 0x4fff000);
	check_invariants();
	assert_true(usable(0x100000) && usable(0x17ffff000) && !usable(1UL << 45));
	memset(&info, 0, sizeof info); // all there is stays
	bootinfo_add_range(&info, 1UL << 45, (1UL << 45) + 0x4000000, true);
	assert_int_equal(bootinfo_drop_far(&info), 0);
}

static void a_framebuffer_is_no_memory(void **state)
{
	build_len = 0;
	put32(0), put32(0);
	put32(6), put32(16 + 24), put32(24), put32(0);
	entry(0x100000, 0x3f00000, 1);
	put32(8), put32(38), put64(0x3000000), put32(4096), put32(1024), put32(768);
	put("\x20\x01\0\0\x10\x08\x08\x08\0\x08", 10), pad();
	put32(0), put32(8);
	set32(0, (uint32_t)build_len);
	struct block b = finish();
	assert_true(parse(DOOR_MULTIBOOT2, &b));
	free(b.bytes);
	assert_int_equal(info.framebuffer, 0x3000000);
	assert_true(usable(0x2fff000) && !usable(0x3000000) && !usable(0x32ff000) &&
		    usable(0x3300000));
}

#define MODEL_FRAMES 600
static void ranges_equal_the_model_and_what_is_reserved_wins(void **state)
{
	for (int round = 0; round < 3000; round++) {
		uint8_t model[MODEL_FRAMES] = {0}; // 1: usable, 2: not
		memset(&info, 0, sizeof info);
		for (uint64_t n = shim_random_below(round % 10 ? 40 : 600); n; n--) {
			bool use = shim_random_below(3) != 0;
			uint64_t start = shim_random_below(MODEL_FRAMES);
			uint64_t room = round % 10 ? MODEL_FRAMES - start : 3;
			uint64_t end = start + shim_random_below(room);
			end = MIN(end, MODEL_FRAMES);
			bootinfo_add_range(&info, start << PAGE_SHIFT, end << PAGE_SHIFT, use);
			check_invariants();
			for (uint64_t f = start; f < end; f++)
				model[f] = use && model[f] != 2 ? 1 : 2;
		}
		for (uint64_t f = 0; f < MODEL_FRAMES; f++) {
			bool is = usable(f << PAGE_SHIFT);
			assert_false(is && model[f] != 1);
			assert_true(is || model[f] != 1 || info.ranges_lost);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(multiboot2_is_read),
	    cmocka_unit_test(pvh_is_read),
	    cmocka_unit_test(corruptions_read_nothing_outside),
	    cmocka_unit_test(entries_at_the_end_of_addresses_invent_no_memory),
	    cmocka_unit_test(a_range_that_costs_more_than_it_brings_is_dropped),
	    cmocka_unit_test(a_framebuffer_is_no_memory),
	    cmocka_unit_test(ranges_equal_the_model_and_what_is_reserved_wins),
	};
	shim_seed();
	return cmocka_run_group_tests_name("bootinfo", tests, NULL, NULL);
}
