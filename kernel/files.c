// SPDX-License-Identifier: BSD-2-Clause
// Descriptor tables (kernel/files.h). Closing is done after the table's lock is dropped: it may sleep for long.
#include "kernel/files.h"
#include "kernel/file_lock.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/uspace.h"
#include "kernel/pool.h"
#include "kernel/process.h"

#define SLOTS_FIRST 64

static struct pool files_pool = POOL_INIT("descriptor table", struct files, PROCESSES_MAX);

// A descriptor's reference goes.
static void let_go(struct files *f, struct stream *s)
{
	file_locks_closed(f, s);
	stream_put(s);
}

static size_t table_bytes(uint32_t slots)
{
	return slots * sizeof(struct file_slot);
}

struct files *files_new(void)
{
	struct files *f = pool_alloc(&files_pool);

	if (!f)
		return NULL;
	f->slots = user_kpages_alloc(table_bytes(SLOTS_FIRST));
	if (!f->slots) {
		pool_free(&files_pool, f);
		return NULL;
	}
	f->lock = (struct mutex)MUTEX_INIT("descriptors");
	f->size = SLOTS_FIRST;
	f->references = 1;
	return f;
}

struct files *files_copy(struct files *f)
{
	struct files *copy = files_new();

	if (!copy)
		return NULL;
	mutex_lock(&f->lock);
	if (f->size > copy->size) {
		struct file_slot *slots = user_kpages_alloc(table_bytes(f->size));

		if (!slots) {
			mutex_unlock(&f->lock);
			files_put(copy);
			return NULL;
		}
		user_kpages_free(copy->slots, table_bytes(copy->size));
		copy->slots = slots;
		copy->size = f->size;
	}
	for (uint32_t fd = 0; fd < f->size; fd++)
		if (f->slots[fd].stream) {
			copy->slots[fd] = f->slots[fd];
			stream_get(f->slots[fd].stream);
			copy->lowest += fd == copy->lowest;
		}
	mutex_unlock(&f->lock);
	return copy;
}

void files_put(struct files *f)
{
	if (__atomic_sub_fetch(&f->references, 1, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t fd = 0; fd < f->size; fd++)
		if (f->slots[fd].stream)
			let_go(f, f->slots[fd].stream);
	user_kpages_free(f->slots, table_bytes(f->size));
	pool_free(&files_pool, f);
}

// Lock held. False: no memory, or over the process' limit.
static bool grow(struct files *f, uint32_t fd, uint64_t limit)
{
	uint32_t size = f->size;
	struct file_slot *slots;

	if (fd >= limit)
		return false;
	while (size <= fd)
		size *= 2;
	if (size == f->size)
		return true;
	slots = user_kpages_alloc(table_bytes(size));
	if (!slots)
		return false;
	memcpy(slots, f->slots, table_bytes(f->size));
	user_kpages_free(f->slots, table_bytes(f->size));
	f->slots = slots;
	f->size = size;
	return true;
}

static bool is_free(const struct file_slot *slot)
{
	return !slot->stream && !slot->promised;
}

// The lowest free slot from `from` on becomes that.
static int take_slot(int from, const struct file_slot *what)
{
	struct process *p = process_current();
	struct files *f = p->files;
	uint32_t fd;

	mutex_lock(&f->lock);
	for (fd = MAX((uint32_t)from, f->lowest); fd < f->size && !is_free(&f->slots[fd]); fd++)
		;
	if (!grow(f, fd, p->limits[RLIMIT_NOFILE].soft)) {
		mutex_unlock(&f->lock);
		return -EMFILE;
	}
	f->slots[fd] = *what;
	if (fd == f->lowest)
		f->lowest++;
	mutex_unlock(&f->lock);
	return (int)fd;
}

int files_take(struct stream *s, int from, bool close_on_exec)
{
	return take_slot(from, &(struct file_slot){.stream = s, .close_on_exec = close_on_exec});
}

int files_promise(bool close_on_exec)
{
	return take_slot(0, &(struct file_slot){.promised = true, .close_on_exec = close_on_exec});
}

void files_keep(int fd, struct stream *s)
{
	struct files *f = process_current()->files;

	mutex_lock(&f->lock);
	ASSERT(f->slots[fd].promised);
	f->slots[fd].stream = s;
	f->slots[fd].promised = false;
	mutex_unlock(&f->lock);
}

// Lock held.
static void free_slot(struct files *f, uint32_t fd)
{
	f->slots[fd] = (struct file_slot){0};
	f->lowest = MIN(f->lowest, fd);
}

void files_give_up(int fd)
{
	struct files *f = process_current()->files;

	mutex_lock(&f->lock);
	ASSERT(f->slots[fd].promised);
	free_slot(f, (uint32_t)fd);
	mutex_unlock(&f->lock);
}

int files_set(struct files *f, int fd, struct stream *s, bool close_on_exec)
{
	uint64_t limit =
	    task_current() ? process_current()->limits[RLIMIT_NOFILE].soft : SLOTS_FIRST;
	struct stream *old;

	mutex_lock(&f->lock);
	if (!grow(f, (uint32_t)fd, limit)) {
		mutex_unlock(&f->lock);
		return -EBADF;
	}
	if (f->slots[fd].promised) {
		mutex_unlock(&f->lock);
		return -EBUSY;
	}
	old = f->slots[fd].stream;
	f->slots[fd] = (struct file_slot){.stream = s, .close_on_exec = close_on_exec};
	mutex_unlock(&f->lock);
	if (old)
		let_go(f, old);
	return fd;
}

// Lock held.
static struct file_slot *slot_of(struct files *f, int fd)
{
	return fd >= 0 && (uint32_t)fd < f->size && f->slots[fd].stream ? &f->slots[fd] : NULL;
}

struct stream *files_find(int fd)
{
	struct files *f = process_current()->files;
	struct file_slot *slot;
	struct stream *s = NULL;

	mutex_lock(&f->lock);
	slot = slot_of(f, fd);
	if (slot) {
		s = slot->stream;
		stream_get(s);
	}
	mutex_unlock(&f->lock);
	return s;
}

int files_close(int fd)
{
	struct files *f = process_current()->files;
	struct file_slot *slot;
	struct stream *s = NULL;

	mutex_lock(&f->lock);
	slot = slot_of(f, fd);
	if (slot) {
		s = slot->stream;
		free_slot(f, (uint32_t)fd);
	}
	mutex_unlock(&f->lock);
	if (!s)
		return -EBADF;
	let_go(f, s);
	return 0;
}

void files_close_on_exec(struct process *p)
{
	for (uint32_t fd = 0; fd < p->files->size; fd++)
		if (p->files->slots[fd].stream && p->files->slots[fd].close_on_exec)
			(void)files_close((int)fd);
}

int files_get_cloexec(int fd)
{
	struct files *f = process_current()->files;
	struct file_slot *slot;
	int on;

	mutex_lock(&f->lock);
	slot = slot_of(f, fd);
	on = slot ? slot->close_on_exec : -EBADF;
	mutex_unlock(&f->lock);
	return on;
}

int files_set_cloexec(int fd, bool on)
{
	struct files *f = process_current()->files;
	struct file_slot *slot;

	mutex_lock(&f->lock);
	slot = slot_of(f, fd);
	if (slot)
		slot->close_on_exec = on;
	mutex_unlock(&f->lock);
	return slot ? 0 : -EBADF;
}
