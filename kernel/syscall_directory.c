// SPDX-License-Identifier: BSD-2-Clause
// Reading directories.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { DT_DIR = 4, DOTS = 2 };

struct dirent_writer {
	uintptr_t at;
	uint64_t left;
	int64_t written;
	int error;
	bool old; // getdents: an entry's type stands behind its name, in the last byte
};

static bool write_entry(void *ctx, const char *name, size_t len, uint64_t number, unsigned type,
			uint64_t next)
{
	struct dirent_writer *w = ctx;
	struct {
		uint64_t number, next;
		uint16_t bytes;
		char rest[1 + 256 + 8]; // type and name, or name, zeros and type
	} __attribute__((packed)) e = {.number = number, .next = next};

	e.bytes = (uint16_t)ALIGN_UP(offsetof(__typeof__(e), rest) + 1 + len + 1, 8UL);
	e.rest[w->old ? e.bytes - offsetof(__typeof__(e), rest) - 1 : 0] = (char)type;
	if (e.bytes > w->left) {
		w->error = w->written ? 0 : -EINVAL;
		return false;
	}
	memcpy(e.rest + !w->old, name, len);
	if (user_write(w->at, &e, e.bytes)) {
		w->error = -EFAULT;
		return false;
	}
	w->at += e.bytes;
	w->left -= e.bytes;
	w->written += e.bytes;
	return true;
}

// Every directory has "." and "..", at positions 0 and 1; what its maker tells follows: position n is its n - 2.
static bool write_shifted(void *ctx, const char *name, size_t len, uint64_t number, unsigned type,
			  uint64_t next)
{
	return write_entry(ctx, name, len, number, type, next + DOTS);
}

// The number of the directory above.
static uint64_t number_above(const struct stream *s)
{
	const char *rest;
	size_t rest_len, len = s->path_len;
	const struct name_provider *p;
	struct stream_stat st;

	while (len > 1 && s->path[len - 1] != '/')
		len--;
	len = len > 1 ? len - 1 : len;
	p = path_provider(s->path, len, &rest, &rest_len);
	return p && !p->stat(rest, rest_len, true, &st) ? st.number : 1;
}

static int write_all(struct stream *s, struct dirent_writer *w)
{
	struct stream_stat st;
	uint64_t cursor;
	int error = stream_stat_of(s, &st);

	if (error)
		return error;
	while (s->position < DOTS) {
		uint64_t at = s->position, number = at ? number_above(s) : st.number;

		if (!write_entry(w, "..", 1 + at, number, DT_DIR, at + 1))
			return 0;
		s->position++;
	}
	cursor = s->position - DOTS;
	error = s->ops->read_dir(s, &cursor, write_shifted, w);
	s->position = cursor + DOTS;
	return error;
}

static int64_t get_entries(const uint64_t a[6], bool old)
{
	struct stream *s = files_find((int)a[0]);
	struct dirent_writer w = {.at = a[1], .left = (uint32_t)a[2], .old = old};
	int error;

	if (!s)
		return -EBADF;
	if (!s->ops->read_dir) {
		stream_put(s);
		return -ENOTDIR;
	}
	mutex_lock(&s->position_lock);
	error = write_all(s, &w);
	mutex_unlock(&s->position_lock);
	stream_put(s);
	if (w.written)
		return w.written;
	return error ? error : w.error;
}

SYSCALL(78, getdents)
{
	return get_entries(a, true);
}
SYSCALL(217, getdents64)
{
	return get_entries(a, false);
}
