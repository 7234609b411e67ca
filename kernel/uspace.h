// SPDX-License-Identifier: BSD-2-Clause
// A program's address space: regions (what may be where) and page tables (what is there now). Pages come
// when they are touched:
//
//	anonymous     a read finds the page of zeros, a write a fresh frame
//	from a file   a read finds the very page of the file cache, mapped read-only and wired; a write (the
//		      mapping is private) a copy of it, counted at the stream head
//
// A frame of a program has PAGE_USER and counts in page->index how many page tables name it; fork shares
// them, write-protected, and a write makes its own. `wire` is the network's, as for any page: a frame is
// freed when nobody maps it and it is off the wire.
//
// The upper half of each top table is the kernel's own, the same in all.
#pragma once

#include "kernel/page.h"
#include "kernel/thread.h"

enum uspace_access {
	USPACE_READ = BIT(0),
	USPACE_WRITE = BIT(1),
	USPACE_EXEC = BIT(2),
	USPACE_GROWS_DOWN = BIT(3), // a stack: grows when touched below, down to its limit
	USPACE_SHARED = BIT(4),	    // fork does not copy it
	USPACE_READ_ONLY = BIT(5),  // and never to be written: its file was not opened so
};

// What a mapping of a file reads from; the stream's owner makes it (kernel/stream.h).
struct uspace_backing {
	const struct uspace_backing_ops *ops;
	uint32_t references; // WTDs off
	const void *file;    // of the file cache: what a page's owner is; null: none
};
struct uspace_backing_ops {
	// Sleeps. Page number `index` of it, wired for the caller; -ERANGE beyond its end, -EIO ...
	int (*page)(struct uspace_backing *backing, uint64_t index, struct page **out);
	void (*release)(struct uspace_backing *backing); // the last reference went
	// Files, for mappings that are shared.
	uint64_t (*size_pages)(struct uspace_backing *backing);
	struct page *(*peek)(
	    struct uspace_backing *backing,
	    uint64_t index); // WTDs off: what is there, not wired; null: must be read
	int (*touch)(struct uspace_backing *backing,
		     uint64_t index);		     // sleeps; the page is DIRTY then, for a moment
	int (*sync)(struct uspace_backing *backing); // sleeps; durable when it returns
};
void backing_get(struct uspace_backing *backing);
void backing_put(struct uspace_backing *backing);
struct uspace_backing *
uspace_shared_new(uint64_t bytes); // memory that fork shares; null: none to be had
bool uspace_is_shared_memory(const struct uspace_backing *backing);
// Its end is elsewhere; what is mapped already of pages that go stays with who mapped it. 0, -EFBIG, -ENOSPC.
int uspace_shared_resize(struct uspace_backing *backing, uint64_t bytes) MUST_CHECK;

// Lock key. M: uspace.lock.
struct uspace_region {
	struct uspace_region *next, *prev; // (M) ascending, without overlap
	uintptr_t start, end;		   // (M) multiples of PAGE_SIZE
	unsigned access;		   // (M) enum uspace_access
	struct uspace_backing *backing;	   // (M) a reference; null: anonymous
	uint64_t offset;		   // (M) pages: of start in the backing
	// (M) of the backing, from start on, that count; the rest reads as zeros. May end beyond `end`
	uint64_t bytes;
};

struct uspace {
	struct mutex lock;
	uint64_t *root;			      // constant: the top table
	struct uspace_region *first, *recent; // (M)
	uint32_t region_count;		      // (M)
	uint64_t frames, frames_high;	      // (M) frames of its own, page tables not counted
	uint64_t frames_max;		      // (M) limit
	uint64_t mapped;		      // (M) pages in all regions
	uint64_t mapped_max;		      // (M) limit
	uint64_t data, data_max;	      // (M) of them, private and writable, no stack; limit
	uint64_t faults, faults_from_cache, copies; // (M) figures
	uintptr_t brk_start, brk;		    // (M)
	uintptr_t mmap_top;			    // (M) mappings are placed below
	uint64_t stack_max;			    // (M) bytes a stack may grow to
	uint32_t references;			    // WTDs off: threads' and vfork's
	struct stream
	    *program; // constant once it runs: a reference, so that its file is run; may be null
};

#define USPACE_REGIONS_MAX 65536
#define USPACE_LOWEST	   0x10000UL // nothing is mapped below: null pointers with offsets fault

// Thread context, all of them may sleep.
// Limits in bytes; UINT64_MAX: the kernel's own. What is there already stays.
void uspace_set_limits(struct uspace *u, uint64_t stack, uint64_t mapped, uint64_t data);
struct uspace *uspace_new(void) MUST_CHECK; // null: no memory
void uspace_get(struct uspace *u);
void uspace_put(struct uspace *u); // the last one gives everything back
// A copy for fork: the same regions, frames shared until written. Null: no memory.
struct uspace *uspace_fork(struct uspace *u) MUST_CHECK;

// Maps [start, start + bytes). Takes a reference on backing. 0, -ENOMEM (limits too), -EEXIST (overlap).
int uspace_map(struct uspace *u, uintptr_t start, uint64_t bytes, unsigned access,
	       struct uspace_backing *backing, uint64_t offset_pages,
	       uint64_t file_bytes) MUST_CHECK;
int uspace_unmap(struct uspace *u, uintptr_t start, uint64_t bytes) MUST_CHECK;
int uspace_protect(struct uspace *u, uintptr_t start, uint64_t bytes, unsigned access) MUST_CHECK;
// mremap: the mapping at [start, start + old) gets `new` bytes, in place or (may_move) elsewhere, at `to` if
// that is not 0. Its address, or -EFAULT (not one mapping), -ENOMEM, -EINVAL.
int64_t uspace_move(struct uspace *u, uintptr_t start, uint64_t old, uint64_t new, bool may_move,
		    uintptr_t to) MUST_CHECK;
// Drops what pages hold (MADV_DONTNEED): they read as at first.
int uspace_discard(struct uspace *u, uintptr_t start, uint64_t bytes) MUST_CHECK;
// mmap: finds a place and maps `like` there (its start and end do not count) before another thread can take it. At the
// hint or elsewhere (ANYWHERE); just there, instead of what is there (FIXED) or if nothing is (FIXED_FREE). The
// address, or -ENOMEM, -EEXIST, -EPERM (too low).
enum uspace_where { USPACE_ANYWHERE, USPACE_FIXED, USPACE_FIXED_FREE };
int64_t uspace_place(struct uspace *u, uintptr_t hint, uint64_t bytes, enum uspace_where where,
		     const struct uspace_region *like) MUST_CHECK;
// The region that contains the address, or null. u->lock held.
struct uspace_region *uspace_region_at(struct uspace *u, uintptr_t address);

// Brings the page in for such an access. 0, -EFAULT (not mapped, not allowed), -ENOMEM, -EIO, -ERANGE (beyond
// the end of the file: SIGBUS).
int uspace_fault(struct uspace *u, uintptr_t address, unsigned access) MUST_CHECK;
// The frame behind a page, brought in for `access`, wired for the caller (zero-copy sends, futex keys).
int uspace_page(struct uspace *u, uintptr_t address, unsigned access, struct page **out) MUST_CHECK;

// The same for reading, and until it is off the wire a write makes a copy: what is lent does not change. Memory that is
// shared is only wired.
int uspace_lend(struct uspace *u, uintptr_t address, struct page **out) MUST_CHECK;

// Into a space that need not be the running one: brings pages in and writes. 0, -EFAULT, -ENOMEM ...
int uspace_write(struct uspace *u, uintptr_t to, const void *from, size_t bytes) MUST_CHECK;
// Makes the stack reach down to the address. 0 or -ENOMEM.
int uspace_grow_stack(struct uspace *u, uintptr_t address) MUST_CHECK;

// ---- uspace_table.c: page tables of the lower half; u->lock held -------------------------------------
// The entry of an address; null: a table is missing (made with `make`; null: no memory).
uint64_t *uspace_entry(struct uspace *u, uintptr_t address, bool make);
// Calls visit for each entry that is present in [start, end).
void uspace_each_entry(struct uspace *u, uintptr_t start, uintptr_t end,
		       void (*visit)(struct uspace *u, uintptr_t address, uint64_t *entry,
				     void *ctx),
		       void *ctx);
void uspace_free_tables(struct uspace *u); // no entry is present any more
void uspace_flush(struct uspace *u,
		  uintptr_t address); // after an entry was changed, if it is in use here

// Frames of programs. Any context.
struct page *user_frame_alloc(void) MUST_CHECK; // one mapping; contents undefined
void user_frame_get(struct page *page);		// one more
void user_frame_put(struct page *page);
// What the kernel itself needs for a program (stacks, tables) counts against the half of the memory that all
// programs together may have. False: it is used up. Give back what was taken.
bool user_memory_take(uint32_t frames) MUST_CHECK;
void user_memory_give(uint32_t frames);
// kpages that grow with what a program asks for, counted so but for the first page. Null: no memory, or used up.
void *user_kpages_alloc(size_t bytes) MUST_CHECK;
void user_kpages_free(void *memory, size_t bytes);
// The same, counted as so many frames.
void *user_kpages_alloc_as(size_t bytes, uint32_t frames) MUST_CHECK;
void user_kpages_free_as(void *memory, size_t bytes, uint32_t frames);
void uspace_init(void); // boot
