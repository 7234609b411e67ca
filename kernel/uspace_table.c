// SPDX-License-Identifier: BSD-2-Clause
// Page tables of programs (kernel/uspace.h; Intel SDM volume 3, 4.5): the lower half of a top table whose
// upper half is the kernel's. Entries are 4 KB pages. Tables are freed with the space.
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/uspace_private.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"

#define USER_ENTRIES (ENTRIES / 2) // of the top table
#define PTE_USER     BIT(2)

static unsigned index_at(uintptr_t address, int level)
{
	return address >> (PAGE_SHIFT + 9 * level) & (ENTRIES - 1);
}

static uint64_t *table_at(uint64_t entry)
{
	return phys_to_virt(entry & PTE_FRAME);
}

// Tables count like what they hold: a program that touches one page here and one there has more of them than pages.
static uint64_t *new_table(void)
{
	return user_kpages_alloc_as(PAGE_SIZE, 1);
}

uint64_t *uspace_entry(struct uspace *u, uintptr_t address, bool make)
{
	uint64_t *table = u->root;

	for (int level = LEVEL_ROOT; level > LEVEL_4K; level--) {
		uint64_t *entry = &table[index_at(address, level)];

		if (!(*entry & PTE_PRESENT)) {
			uint64_t *below = make ? new_table() : NULL;

			if (!below)
				return NULL;
			*entry = virt_to_phys(below) | PTE_PRESENT | PTE_WRITE | PTE_USER;
		}
		table = table_at(*entry);
	}
	return &table[index_at(address, LEVEL_4K)];
}

struct walk {
	struct uspace *u;
	uintptr_t start, end;
	void (*visit)(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx);
	void *ctx;
};

// `base`: the address of the table's first entry.
static void walk_table(const struct walk *w, uint64_t *table, int level, uintptr_t base)
{
	uint64_t span = level_span(level);
	unsigned first =
	    w->start > base ? (unsigned)MIN((w->start - base) / span, ENTRIES - 1UL) : 0;

	for (unsigned i = first; i < (level == LEVEL_ROOT ? USER_ENTRIES : ENTRIES); i++) {
		uintptr_t address = base + i * span;

		if (address >= w->end)
			break;
		if (!entry_names_page(table[i]))
			continue;
		if (level == LEVEL_4K)
			w->visit(w->u, address, &table[i], w->ctx);
		else
			walk_table(w, table_at(table[i]), level - 1, address);
	}
}

void uspace_each_entry(struct uspace *u, uintptr_t start, uintptr_t end,
		       void (*visit)(struct uspace *u, uintptr_t address, uint64_t *entry,
				     void *ctx),
		       void *ctx)
{
	struct walk w = {.u = u, .start = start, .end = end, .visit = visit, .ctx = ctx};

	walk_table(&w, u->root, LEVEL_ROOT, 0);
}

static void free_below(uint64_t *table, int level)
{
	for (unsigned i = 0; i < (level == LEVEL_ROOT ? USER_ENTRIES : ENTRIES); i++)
		if (table[i] & PTE_PRESENT) {
			if (level > 1)
				free_below(table_at(table[i]), level - 1);
			user_kpages_free_as(table_at(table[i]), PAGE_SIZE, 1);
			table[i] = 0;
		}
}

void uspace_free_tables(struct uspace *u)
{
	free_below(u->root, LEVEL_ROOT);
}

void uspace_flush(struct uspace *u, uintptr_t address)
{
	if (read_cr3() == virt_to_phys(u->root))
		invlpg(address);
}
