// SPDX-License-Identifier: BSD-2-Clause
// The ELF loader: static programs at their address (ET_EXEC) or, position-independent, at a random one (ET_DYN).
// Nothing is read but the headers: segments become mappings of the file, and pages come when they are touched.
// Everything the file says is checked before it is used; what is wrong is -ENOEXEC.
#include "kernel/elf.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/process.h"
#include "kernel/stream.h"
#include "kernel/usercopy.h"

#define PROGRAMS_MAX 64 // program headers; linkers make about ten
#define PIE_BASE     0x0000555555554000UL
#define PIE_PAGES    (1UL << 28) // ASLR: 28 bits of pages above PIE_BASE

static int read_exactly(struct stream *s, void *to, size_t bytes, uint64_t offset)
{
	struct stream_part part = {(uintptr_t)to, bytes};
	struct stream_io io = {.parts = &part, .count = 1, .left = bytes, .kernel = true};
	int64_t got = stream_read_at(s, &io, offset);

	return got < 0 ? (int)got : got == (int64_t)bytes ? 0 : -ENOEXEC;
}

static bool header_ok(const struct elf_header *h)
{
	static const uint8_t ident[7] = {0x7f, 'E', 'L', 'F',
					 2,    1,   1}; // 64 bits, little endian, version 1

	return !memcmp(h->ident, ident, sizeof(ident)) && h->machine == EM_X86_64 &&
	       (h->type == ET_EXEC || h->type == ET_DYN) &&
	       h->phentsize == sizeof(struct elf_program) && h->phnum && h->phnum <= PROGRAMS_MAX;
}

static bool segment_ok(const struct elf_program *p)
{
	return p->memsz && p->filesz <= p->memsz && p->memsz < USER_END &&
	       p->vaddr < USER_END - p->memsz && p->offset + p->filesz >= p->offset &&
	       !((p->vaddr ^ p->offset) & (PAGE_SIZE - 1));
}

static unsigned access_of(const struct elf_program *p)
{
	return (p->flags & PF_R ? USPACE_READ : 0) | (p->flags & PF_W ? USPACE_WRITE : 0) |
	       (p->flags & PF_X ? USPACE_EXEC : 0);
}

static int map_segment(struct uspace *space, struct uspace_backing *backing,
		       const struct elf_program *p, uintptr_t base)
{
	uintptr_t start = base + p->vaddr, end = start + p->memsz;
	uint64_t lead = start & (PAGE_SIZE - 1), file_bytes = p->filesz ? p->filesz + lead : 0;
	int error;

	if ((access_of(p) & (USPACE_WRITE | USPACE_EXEC)) == (USPACE_WRITE | USPACE_EXEC))
		return -ENOEXEC; // no page is both: a program that wants it asks mprotect
	error =
	    uspace_map(space, start - lead, ALIGN_UP(end, PAGE_SIZE) - (start - lead), access_of(p),
		       backing, (p->offset - (p->filesz ? lead : 0)) >> PAGE_SHIFT, file_bytes);
	return error == -EEXIST ? -ENOEXEC : error;
}

struct extent {
	uintptr_t low, high;
};

static int check_segments(const struct elf_program *p, unsigned count, struct extent *all)
{
	*all = (struct extent){USER_END, 0};
	for (unsigned i = 0; i < count; i++) {
		if (p[i].type == PT_INTERP)
			return -ENOEXEC; // linked dynamically
		if (p[i].type != PT_LOAD)
			continue;
		if (!segment_ok(&p[i]))
			return -ENOEXEC;
		all->low = MIN(all->low, p[i].vaddr);
		all->high = MAX(all->high, p[i].vaddr + p[i].memsz);
	}
	return all->high ? 0 : -ENOEXEC;
}

// Where the program headers are in the program's memory, for AT_PHDR.
static uintptr_t headers_at(const struct elf_header *h, const struct elf_program *p, uintptr_t base)
{
	for (unsigned i = 0; i < h->phnum; i++)
		if (p[i].type == PT_LOAD && h->phoff >= p[i].offset &&
		    h->phoff + h->phnum * sizeof(*p) <= p[i].offset + p[i].filesz)
			return base + p[i].vaddr + (h->phoff - p[i].offset);
	return 0;
}

int elf_load(struct uspace *space, struct stream *program, struct elf_image *out)
{
	struct elf_program programs[PROGRAMS_MAX];
	struct elf_header h;
	struct extent all;
	struct uspace_backing *backing;
	int error = read_exactly(program, &h, sizeof(h), 0);

	if (error)
		return error;
	if (!header_ok(&h))
		return -ENOEXEC;
	error = read_exactly(program, programs, h.phnum * sizeof(programs[0]), h.phoff);
	if (!error)
		error = check_segments(programs, h.phnum, &all);
	if (error)
		return error;
	*out = (struct elf_image){.phnum = h.phnum};
	if (h.type == ET_DYN)
		out->base = PIE_BASE + ((cpu_random() % PIE_PAGES) << PAGE_SHIFT);
	backing = program->ops->backing ? program->ops->backing(program) : NULL;
	if (!backing)
		return -EACCES;
	for (unsigned i = 0; i < h.phnum && !error; i++)
		if (programs[i].type == PT_LOAD)
			error = map_segment(space, backing, &programs[i], out->base);
	backing_put(backing);
	out->entry = out->base + h.entry;
	out->phdr = headers_at(&h, programs, out->base);
	out->brk = ALIGN_UP(out->base + all.high, PAGE_SIZE);
	return out->entry < USER_END ? error : -ENOEXEC;
}
