// SPDX-License-Identifier: BSD-2-Clause
// The vDSO and the page of the clock before it, as every program has them (kernel/vdso/). Both are frames that the
// kernel keeps: a program maps them to read, and makes its own copy should it ever get to write.
#include "kernel/clock_page.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/timer.h"
#include "kernel/uspace.h"
#include "kernel/vmm.h"

enum { PAGE_OF_CLOCK, PAGE_OF_CODE, VDSO_PAGES };

extern const char vdso_image[], vdso_image_end[];

static struct page *frames[VDSO_PAGES]; // constant after boot

static int vdso_page(struct uspace_backing *backing, uint64_t index, struct page **out)
{
	if (index >= VDSO_PAGES)
		return -ERANGE;
	*out = frames[index];
	page_wire_get(*out);
	return 0;
}

static void vdso_release(struct uspace_backing *backing)
{
	PANIC("the vDSO was let go more often than it was mapped");
}

static const struct uspace_backing_ops ops = {.page = vdso_page, .release = vdso_release};
static struct uspace_backing backing = {.ops = &ops, .references = 1};

bool vdso_is(const struct uspace_backing *b)
{
	return b == &backing;
}

int vdso_map(struct uspace *u, uintptr_t *header)
{
	struct uspace_region like = {
	    .access = USPACE_READ, .backing = &backing, .bytes = VDSO_PAGES * PAGE_SIZE};
	int64_t at = uspace_place(u, 0, VDSO_PAGES * PAGE_SIZE, USPACE_ANYWHERE, &like);

	if (at < 0)
		return (int)at;
	*header = (uintptr_t)at + PAGE_OF_CODE * PAGE_SIZE;
	like.access |= USPACE_EXEC;
	like.offset = PAGE_OF_CODE;
	like.bytes = PAGE_SIZE;
	at = uspace_place(u, *header, PAGE_SIZE, USPACE_FIXED, &like);
	return at < 0 ? (int)at : 0;
}

void vdso_init(void)
{
	size_t bytes = (size_t)(vdso_image_end - vdso_image);

	for (unsigned n = 0; n < VDSO_PAGES; n++) {
		frames[n] = user_frame_alloc();
		if (!frames[n])
			PANIC("no memory for the vDSO");
		memset(page_virt(frames[n]), 0, PAGE_SIZE);
	}
	ASSERT(bytes <= PAGE_SIZE);
	memcpy(page_virt(frames[PAGE_OF_CODE]), vdso_image, bytes);
	clock_publish(page_virt(frames[PAGE_OF_CLOCK]));
}
