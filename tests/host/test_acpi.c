// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/acpi.c
// ACPI tables from fake firmware: found through RSDT and XSDT, refused when a checksum or a length is
// wrong, S5 parsed from several encodings, and random damage (with checksums made right again, so that
// it gets through) reads nothing outside the pages that were mapped.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/acpi.h"
#include "kernel/boot.h"
#include "kernel/io.h"
#include "kernel/kstring.h"
#include "kernel/vmm.h"
#include "shim.h"

#define RAM_BYTES (1UL << 20)
static uint8_t firmware[RAM_BYTES];
struct boot_info boot_info;

// A mapping is a copy of whole pages, so that ASan sees what goes beyond.
static void *mappings[4096];
static size_t mapping_count;
void *vmm_map_phys(paddr_t addr, size_t len, bool write_combining)
{
	paddr_t first = ALIGN_DOWN(addr, PAGE_SIZE), end = ALIGN_UP(addr + len, PAGE_SIZE);
	if (!len || end < first || end > RAM_BYTES || mapping_count == ARRAY_SIZE(mappings))
		return NULL;
	uint8_t *copy = malloc(end - first);
	memcpy(copy, firmware + first, end - first);
	mappings[mapping_count++] = copy;
	return copy + (addr - first);
}
void *vmm_map_io(paddr_t addr, size_t len)
{
	return vmm_map_phys(addr, len, false);
}
void vmm_unmap(void *p, size_t len) {} // freed after the test
static void forget_mappings(void)
{
	while (mapping_count)
		free(mappings[--mapping_count]);
}

static struct {
	uint16_t port, value;
} writes[16];
static size_t write_count;
static void note(uint16_t port, uint16_t value)
{
	if (write_count < ARRAY_SIZE(writes)) {
		writes[write_count].port = port;
		writes[write_count++].value = value;
	}
}
void outb(uint16_t port, uint8_t value)
{
	note(port, value);
}
void outw(uint16_t port, uint16_t value)
{
	note(port, value);
}
uint16_t inw(uint16_t port)
{
	return 1; // SCI_EN: ACPI is on
}
void clock_wait_us(unsigned us) {}

static void set32(size_t at, uint32_t value)
{
	memcpy(firmware + at, &value, 4);
}
static void set64(size_t at, uint64_t value)
{
	memcpy(firmware + at, &value, 8);
}
static void fix_sum(size_t at, size_t len, size_t where)
{
	uint8_t sum = 0;
	firmware[at + where] = 0;
	for (size_t i = 0; i < len && at + i < RAM_BYTES; i++)
		sum = (uint8_t)(sum + firmware[at + i]);
	firmware[at + where] = (uint8_t)-sum;
}
static void table(size_t at, const char *signature, uint32_t len)
{
	memcpy(firmware + at, signature, 4);
	set32(at + 4, len);
	fix_sum(at, len, 9);
}

// Where things lie: the DSDT ends with its page, the FADT crosses a page's end.
enum {
	RSDP = 0xe1230,
	RSDT = 0x10000,
	XSDT = 0x11000,
	FADT = 0x12fc0,
	MADT = 0x14000,
	DSDT = 0x15f80
};
enum { FADT_BYTES = 244, DSDT_BYTES = 128 };

static void build(const void *s5, size_t s5_len)
{
	forget_mappings();
	memset(firmware, 0, sizeof firmware);
	memset(&boot_info, 0, sizeof boot_info);
	write_count = 0;
	memcpy(firmware + RSDP, "RSD PTR ", 8);
	firmware[RSDP + 15] = 2;
	set32(RSDP + 16, RSDT);
	set32(RSDP + 20, 36);
	set64(RSDP + 24, XSDT);
	fix_sum(RSDP, 20, 8);
	fix_sum(RSDP, 36, 32);
	set32(RSDT + 36, FADT);
	table(RSDT, "RSDT", 40);
	set64(XSDT + 36, FADT);
	set64(XSDT + 44, MADT);
	table(XSDT, "XSDT", 52);
	table(MADT, "APIC", 44);
	set32(FADT + 40, DSDT);
	set32(FADT + 64, 0x604);     // PM1a control
	set32(FADT + 112, 1U << 10); // a reset register
	firmware[FADT + 116] = 1;    // port
	set64(FADT + 120, 0xcf9);
	firmware[FADT + 128] = 6;
	table(FADT, "FACP", FADT_BYTES);
	memcpy(firmware + DSDT + 50, s5, s5_len);
	table(DSDT, "DSDT", DSDT_BYTES);
}

#define S5(text) (text), sizeof(text) - 1
static const char usual[] = "\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00";

static void tables_are_found_by_xsdt_and_by_rsdt(void **state)
{
	build(S5(usual));
	acpi_init();
	assert_non_null(acpi_find("FACP"));
	assert_non_null(acpi_find("APIC"));
	assert_null(acpi_find("MCFG"));
	build(S5(usual));
	firmware[RSDP + 15] = 0; // ACPI 1.0: no XSDT
	fix_sum(RSDP, 20, 8);
	acpi_init();
	assert_non_null(acpi_find("FACP"));
	assert_null(acpi_find("APIC"));
	build(S5(usual)); // the loader's own copy goes first
	memcpy(boot_info.rsdp_copy, firmware + RSDP, 36);
	boot_info.rsdp_copied = true;
	memset(firmware + RSDP, 0, 36);
	acpi_init();
	assert_non_null(acpi_find("APIC"));
}

static void a_wrong_checksum_or_length_is_refused(void **state)
{
	build(S5(usual));
	firmware[MADT + 20] ^= 1;
	acpi_init();
	assert_null(acpi_find("APIC"));
	assert_non_null(acpi_find("FACP"));
	static const uint32_t lengths[] = {0, 35, 0xffffffff, 1U << 20, 0x80000000};
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		build(S5(usual));
		set32(MADT + 4, lengths[i]);
		acpi_init();
		assert_null(acpi_find("APIC"));
	}
	build(S5(usual));
	firmware[RSDP] = 'X';
	acpi_init();
	assert_null(acpi_find("FACP"));
}

static void sleep_type_five_is_read_in_each_encoding(void **state)
{
	static const struct {
		const char *aml;
		size_t len;
		int value; // -1: must not be found
	} cases[] = {
	    {S5(usual), 5},
	    {S5("\x08_S5_\x12\x06\x04\x05\x05\x00\x00"), -1}, // 5 is no AML integer by itself
	    {S5("\x08\\_S5_\x12\x06\x04\x01\x01\x00\x00"), 1},
	    {S5("\x08_S5_\x12\x47\x00\x04\x0a\x07\x00\x00\x00"), 7}, // a length of two bytes
	    {S5("\x08_S5_\x12\x05\x02\x00\x00"), 0},
	    {S5("xx_S5_\x12\x06\x04\x0a\x05\x00\x00"), -1},   // not a name
	    {S5("\x08_S5_\x11\x06\x04\x0a\x05\x00\x00"), -1}, // not a package
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		build(cases[i].aml, cases[i].len);
		acpi_init();
		acpi_power_off();
		if (cases[i].value < 0) {
			assert_int_equal(write_count, 0);
			continue;
		}
		assert_int_equal(write_count, 1);
		assert_int_equal(writes[0].port, 0x604);
		assert_int_equal(writes[0].value, 1 | cases[i].value << 10 | 1 << 13);
	}
}

static void the_reset_register_is_written(void **state)
{
	build(S5(usual));
	acpi_init();
	acpi_reset();
	assert_int_equal(write_count, 1);
	assert_int_equal(writes[0].port, 0xcf9);
	assert_int_equal(writes[0].value, 6);
}

static void damage_reads_nothing_outside(void **state)
{
	static const struct {
		size_t at, len, sum;
	} parts[] = {{RSDP, 36, 8},	    {RSDT, 40, 9}, {XSDT, 52, 9},
		     {FADT, FADT_BYTES, 9}, {MADT, 44, 9}, {DSDT, DSDT_BYTES, 9}};
	for (int round = 0; round < 20000; round++) {
		build(S5(usual));
		size_t part = shim_random_below(ARRAY_SIZE(parts)), at = parts[part].at;
		for (uint64_t k = 1 + shim_random_below(5); k; k--)
			firmware[at + shim_random_below(parts[part].len)] = (uint8_t)shim_random();
		uint32_t len = (uint32_t)parts[part].len;
		if (part) // the damaged length counts
			memcpy(&len, firmware + at + 4, 4);
		fix_sum(at, len, parts[part].sum);
		if (!part)
			fix_sum(RSDP, 36, 32);
		acpi_init();
		acpi_find("APIC");
		acpi_power_off();
		acpi_reset();
	}
	forget_mappings();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tables_are_found_by_xsdt_and_by_rsdt),
	    cmocka_unit_test(a_wrong_checksum_or_length_is_refused),
	    cmocka_unit_test(sleep_type_five_is_read_in_each_encoding),
	    cmocka_unit_test(the_reset_register_is_written),
	    cmocka_unit_test(damage_reads_nothing_outside),
	};
	shim_seed();
	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
