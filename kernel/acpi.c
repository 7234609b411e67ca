// SPDX-License-Identifier: BSD-2-Clause
// ACPI's static tables; contract in include/kernel/acpi.h and acpi_find in boot.h. References are to
// the ACPI specification 6.4. Firmware is not trusted: lengths are bounded, checksums are summed.
#include "kernel/acpi.h"
#include "kernel/boot.h"
#include "kernel/cpu_private.h"
#include "kernel/io.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/vmm.h"

#define MAX_TABLES     64
#define MAX_TABLE_SIZE (1UL << 20) // a DSDT of a big laptop is about 300 KB

struct rsdp { // 5.2.5.3
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length; // from here on: revision 2 and later
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 5.2.5.3");

struct gas { // 5.2.3.2
	uint8_t space, bit_width, bit_offset, access;
	uint64_t address;
} __attribute__((packed));

struct fadt { // 5.2.9
	struct acpi_header header;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint16_t sci_irq;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	uint8_t unused[112 - 72];
	uint32_t flags;
	struct gas reset_register;
	uint8_t reset_value;
	uint16_t arm_flags;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, flags) == 112, "ACPI 5.2.9");
_Static_assert(offsetof(struct fadt, x_dsdt) == 140, "ACPI 5.2.9");
#define FADT_RESET_SUPPORTED BIT(10)

static const struct acpi_header *tables[MAX_TABLES];
static unsigned table_count;
static const char *mapped; // the first page of the last table that was mapped, or null
static paddr_t mapped_at;

static bool sum_is_zero(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return sum == 0;
}

static const struct acpi_header *checked(const struct acpi_header *head, paddr_t addr)
{
	if (head->length >= sizeof(*head) && sum_is_zero(head, head->length))
		return head;
	kprintf("acpi: table %.4s at 0x%lx is refused: bad length or checksum\n", head->signature,
		addr);
	return NULL;
}

// The table at addr, mapped for good, or null if it makes no sense. Tables lie side by side: the next one is mostly in
// the page that was mapped for the one before.
static const struct acpi_header *map_table(paddr_t addr)
{
	const struct acpi_header *head;
	uint32_t length;

	if (addr && mapped && addr - mapped_at < PAGE_SIZE - sizeof(*head)) {
		head = (const void *)(mapped + (addr - mapped_at));
		if (addr - mapped_at + head->length <= PAGE_SIZE)
			return checked(head, addr);
	}
	if (!addr || !(head = vmm_map_phys(addr, sizeof(*head), false)))
		return NULL;
	length = head->length;
	if ((addr & (PAGE_SIZE - 1)) + length > PAGE_SIZE) {
		vmm_unmap((void *)head, sizeof(*head));
		if (length > MAX_TABLE_SIZE || !(head = vmm_map_phys(addr, length, false)))
			return NULL;
	}
	mapped = (const char *)head - (addr & (PAGE_SIZE - 1));
	mapped_at = ALIGN_DOWN(addr, PAGE_SIZE);
	return checked(head, addr);
}

static bool rsdp_valid(const struct rsdp *rsdp)
{
	return !memcmp(rsdp->signature, "RSD PTR ", 8) && sum_is_zero(rsdp, 20);
}

static bool scan(paddr_t start, size_t len, struct rsdp *out)
{
	const char *base = vmm_map_phys(start, len, false);
	bool found = false;

	for (size_t i = 0; base && !found && i + sizeof(*out) <= len; i += 16)
		if (rsdp_valid((const void *)(base + i))) {
			memcpy(out, base + i, sizeof(*out));
			found = true;
		}
	if (base)
		vmm_unmap((void *)base, len);
	return found;
}

// From the loader, else 5.2.5.1: the first KB of the EBDA, then the BIOS area.
static bool find_rsdp(struct rsdp *rsdp)
{
	const uint16_t *ebda;
	paddr_t start = 0;

	if (boot_info.rsdp_copied) {
		memcpy(rsdp, boot_info.rsdp_copy, sizeof(*rsdp));
		if (rsdp_valid(rsdp))
			return true;
	}
	if (boot_info.rsdp && scan(boot_info.rsdp, sizeof(*rsdp), rsdp))
		return true;
	if ((ebda = vmm_map_phys(0x40e, sizeof(*ebda), false))) {
		start = (paddr_t)*ebda << 4;
		vmm_unmap((void *)ebda, sizeof(*ebda));
	}
	if (start >= 0x80000 && start < 0xa0000 && scan(start, 1024, rsdp))
		return true;
	return scan(0xe0000, 0x20000, rsdp);
}

static void add_table(paddr_t addr)
{
	const struct acpi_header *table = map_table(addr);

	if (table && table_count < MAX_TABLES)
		tables[table_count++] = table;
	else if (table)
		kprintf("acpi: more than %u tables, %.4s is left out\n", MAX_TABLES,
			table->signature);
}

static void add_tables(const struct acpi_header *root, size_t entry_bytes)
{
	const char *entry = (const char *)(root + 1), *end = (const char *)root + root->length;

	for (; entry + entry_bytes <= end; entry += entry_bytes) {
		paddr_t addr = 0;

		memcpy(&addr, entry, entry_bytes);
		add_table(addr);
	}
}

void acpi_init(void)
{
	struct rsdp rsdp;
	const struct acpi_header *root = NULL;

	table_count = 0;
	mapped = NULL;
	if (!find_rsdp(&rsdp)) {
		kprintf("acpi: no root pointer; the PC's default interrupt routing is assumed\n");
		return;
	}
	if (rsdp.revision >= 2 && rsdp.xsdt && sum_is_zero(&rsdp, sizeof(rsdp)) &&
	    (root = map_table(rsdp.xsdt)) && !memcmp(root->signature, "XSDT", 4))
		add_tables(root, 8);
	else if ((root = map_table(rsdp.rsdt)) && !memcmp(root->signature, "RSDT", 4))
		add_tables(root, 4);
}

const void *acpi_find(const char signature[4])
{
	for (unsigned i = 0; i < table_count; i++)
		if (!memcmp(tables[i]->signature, signature, 4))
			return tables[i];
	return NULL;
}

void acpi_reset(void)
{
	const struct fadt *fadt = acpi_find("FACP");

	if (!fadt || fadt->header.length < offsetof(struct fadt, arm_flags) ||
	    !(fadt->flags & FADT_RESET_SUPPORTED))
		return;
	if (fadt->reset_register.space == 1 && fadt->reset_register.address < 0x10000) {
		outb((uint16_t)fadt->reset_register.address, fadt->reset_value);
	} else if (fadt->reset_register.space == 0) {
		volatile uint8_t *reg = vmm_map_io(fadt->reset_register.address, 1);

		if (reg)
			*reg = fadt->reset_value;
	}
	clock_wait_us(10000);
}

// An AML integer of the kinds a package of sleep types is made of (20.2.3): false when it is another.
static bool aml_byte(const uint8_t **p, const uint8_t *end, uint8_t *value)
{
	if (*p >= end)
		return false;
	if (**p == 0x00 || **p == 0x01) { // ZeroOp, OneOp
		*value = *(*p)++;
		return true;
	}
	if (**p == 0x0a && end - *p >= 2) { // BytePrefix
		*value = (*p)[1];
		*p += 2;
		return true;
	}
	return false;
}

// Name (\_S5, Package () { SLP_TYPa, SLP_TYPb, ... }): 7.4.2. Found by its bytes, there being no
// interpreter: NameOp, an optional root character, "_S5_", PackageOp, length, count, integers.
static bool parse_s5(const uint8_t *aml, size_t len, uint8_t *type_a, uint8_t *type_b)
{
	const uint8_t *end = aml + len;

	for (const uint8_t *p = aml + 2; p + 7 < end; p++) {
		const uint8_t *q = p + 4;

		if (memcmp(p, "_S5_", 4) || *q++ != 0x12)
			continue;
		if (p[-1] != 0x08 && !(p[-1] == '\\' && p[-2] == 0x08))
			continue;
		q += 1 + (*q >> 6) + 1; // PkgLength's bytes, NumElements
		if (!aml_byte(&q, end, type_a))
			continue;
		if (!aml_byte(&q, end, type_b))
			*type_b = *type_a;
		return true;
	}
	return false;
}

static void pm1_sleep(uint32_t port, uint8_t type)
{
	if (port && port < 0x10000) // SLP_TYP, SLP_EN: 4.8.3.2.1
		outw((uint16_t)port,
		     (uint16_t)((inw((uint16_t)port) & ~0x3c00) | (type & 7) << 10 | BIT(13)));
}

void acpi_power_off(void)
{
	const struct fadt *fadt = acpi_find("FACP");
	const struct acpi_header *dsdt;
	uint8_t type_a, type_b;

	if (!fadt || fadt->header.length < offsetof(struct fadt, flags))
		return;
	dsdt = map_table(fadt->dsdt);
	if (!dsdt && fadt->header.length >= sizeof(*fadt))
		dsdt = map_table(fadt->x_dsdt);
	if (!dsdt || memcmp(dsdt->signature, "DSDT", 4) ||
	    !parse_s5((const uint8_t *)(dsdt + 1), dsdt->length - sizeof(*dsdt), &type_a, &type_b))
		return;
	if (fadt->smi_cmd && fadt->acpi_enable && !(inw((uint16_t)fadt->pm1a_control) & 1)) {
		outb((uint16_t)fadt->smi_cmd, fadt->acpi_enable);
		for (unsigned ms = 0; ms < 300 && !(inw((uint16_t)fadt->pm1a_control) & 1); ms++)
			clock_wait_us(1000);
	}
	pm1_sleep(fadt->pm1a_control, type_a);
	pm1_sleep(fadt->pm1b_control, type_b);
	clock_wait_us(100000);
}
