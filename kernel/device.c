// SPDX-License-Identifier: BSD-2-Clause
// /dev: null, zero, full, urandom (and random), console (and tty), and links to the descriptors of who asks. A provider
// of names (include/kernel/stream.h).
#include "kernel/cpu.h"
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/tty.h"

static struct pool device_pool =
    POOL_INIT("device stream", struct stream, 65536); // descriptors on /dev

static int64_t read_nothing(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return 0;
}

// Bytes that `fill` makes, piece by piece.
static int64_t read_made(struct stream_io *io, void (*fill)(uint64_t *piece, size_t words))
{
	uint64_t piece[32];
	int64_t done = 0;

	while (io->left && !signal_waits()) {
		size_t n = (size_t)MIN(io->left, sizeof(piece));
		int error;

		fill(piece, ARRAY_SIZE(piece));
		error = stream_io_out(io, piece, n);
		if (error)
			return done ? done : error;
		done += (int64_t)n;
	}
	return done ? done : -ERESTART;
}

static void fill_zeros(uint64_t *piece, size_t words)
{
	memset(piece, 0, words * sizeof(*piece));
}
static void fill_random(uint64_t *piece, size_t words)
{
	for (size_t n = 0; n < words; n++)
		piece[n] = cpu_random();
}
static int64_t read_zeros(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return read_made(io, fill_zeros);
}
static int64_t read_random(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return read_made(io, fill_random);
}

static int64_t write_nowhere(struct stream *s, struct stream_io *io, uint64_t offset)
{
	uint64_t bytes = io->left;

	io->left = 0;
	return (int64_t)bytes;
}
static int64_t write_full(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return -ENOSPC;
}

static void device_close(struct stream *s)
{
	pool_free(&device_pool, s);
}

static const struct device {
	const char *name;
	uint32_t number; // Linux's minor of major 1, 5
	struct stream_ops ops;
} devices[] = {
    {"null",
     0x103,
     {.kind = STREAM_DEVICE, .read = read_nothing, .write = write_nowhere, .close = device_close}},
    {"zero",
     0x105,
     {.kind = STREAM_DEVICE, .read = read_zeros, .write = write_nowhere, .close = device_close}},
    {"full",
     0x107,
     {.kind = STREAM_DEVICE, .read = read_zeros, .write = write_full, .close = device_close}},
    {"random",
     0x108,
     {.kind = STREAM_DEVICE, .read = read_random, .write = write_nowhere, .close = device_close}},
    {"urandom",
     0x109,
     {.kind = STREAM_DEVICE, .read = read_random, .write = write_nowhere, .close = device_close}},
    {"tty", 0x500, {.kind = STREAM_TERMINAL}},
    {"console", 0x501, {.kind = STREAM_TERMINAL}},
};

static const struct device *find(const char *path, size_t len)
{
	for (size_t n = 0; n < ARRAY_SIZE(devices); n++)
		if (len == strlen(devices[n].name) + 1 &&
		    !memcmp(path + 1, devices[n].name, len - 1))
			return &devices[n];
	return NULL;
}

// ---- links: the descriptors of who asks, by name ----

static const struct link {
	const char *name, *target;
} links[] = {{"fd", "/proc/self/fd"},
	     {"stdin", "/proc/self/fd/0"},
	     {"stdout", "/proc/self/fd/1"},
	     {"stderr", "/proc/self/fd/2"}};
#define LED_MAX 64

// The link that a path is (*rest: 0), or that it goes on behind; null: none.
static const struct link *find_link(const char *path, size_t len, size_t *rest)
{
	for (size_t n = 0; n < ARRAY_SIZE(links); n++) {
		size_t own = strlen(links[n].name) + 1;

		if (len < own || memcmp(path + 1, links[n].name, own - 1) ||
		    (len > own && path[own] != '/'))
			continue;
		*rest = len - own;
		return &links[n];
	}
	return NULL;
}

// Where the path leads: its length, or -ENOENT. `out`: LED_MAX.
static int64_t follow_link(const struct link *link, const char *path, size_t len, size_t rest,
			   char *out)
{
	size_t target = strlen(link->target);

	if (target + rest > LED_MAX)
		return -ENOENT;
	memcpy(out, link->target, target);
	memcpy(out + target, path + len - rest, rest);
	return (int64_t)(target + rest);
}

static int stat_led(const struct link *link, const char *path, size_t len, size_t rest, bool follow,
		    struct stream_stat *out)
{
	char led[LED_MAX];
	const char *name;
	size_t name_len;
	int64_t to = follow_link(link, path, len, rest, led);
	const struct name_provider *p =
	    to < 0 ? NULL : path_provider(led, (size_t)to, &name, &name_len);

	return p ? p->stat(name, name_len, follow, out) : -ENOENT;
}

static int64_t device_read_link(const char *path, size_t len, char *target, size_t size)
{
	const char *name = path;
	size_t rest = 0, name_len;
	const struct link *link = find_link(path, len, &rest);
	char led[LED_MAX];
	int64_t to = link ? follow_link(link, path, len, rest, led) : -EINVAL;

	if (to < 0)
		return !link && len && !find(path, len) ? -ENOENT : to;
	if (rest)
		return path_provider(led, (size_t)to, &name, &name_len)
		    ->read_link(name, name_len, target, size);
	memcpy(target, led, MIN((size_t)to, size));
	return (int64_t)MIN((size_t)to, size);
}

// ---- the directory itself ----

static int read_dir(struct stream *s, uint64_t *cursor,
		    bool (*visit)(void *ctx, const char *name, size_t len, uint64_t number,
				  unsigned type, uint64_t next),
		    void *ctx)
{
	enum { DT_CHR = 2, DT_LNK = 10 };

	while (*cursor < ARRAY_SIZE(devices)) {
		const struct device *d = &devices[*cursor];

		if (!visit(ctx, d->name, strlen(d->name), d->number, DT_CHR, *cursor + 1))
			return 0;
		++*cursor;
	}
	while (*cursor < ARRAY_SIZE(devices) + ARRAY_SIZE(links)) {
		uint64_t n = *cursor - ARRAY_SIZE(devices);

		if (!visit(ctx, links[n].name, strlen(links[n].name), 0x600 + n, DT_LNK,
			   *cursor + 1))
			return 0;
		++*cursor;
	}
	return 0;
}
static const struct stream_ops dir_ops = {
    .kind = STREAM_DIRECTORY, .read_dir = read_dir, .close = device_close};

static int device_open(const char *path, size_t len, unsigned flags, uint32_t mode,
		       struct stream **out)
{
	const struct device *d = find(path, len);
	size_t rest;
	const struct link *link = d ? NULL : find_link(path, len, &rest);

	if (link) {
		char led[LED_MAX];
		int64_t to = follow_link(link, path, len, rest, led);

		return to < 0 ? (int)to : path_open(led, (size_t)to, flags, mode, out);
	}
	if (len && !d)
		return flags & OPEN_CREATE ? -EACCES : -ENOENT;
	if (!len && flags & STREAM_ACCMODE)
		return -EISDIR;
	flags &= STREAM_ACCMODE | STREAM_NONBLOCK | STREAM_APPEND;
	if (d && d->ops.kind == STREAM_TERMINAL) {
		*out = tty_open(flags);
		return *out ? 0 : -ENOMEM;
	}
	*out = pool_alloc(&device_pool);
	if (!*out)
		return -ENFILE;
	stream_init(*out, d ? &d->ops : &dir_ops, flags);
	return 0;
}

static int device_stat(const char *path, size_t len, bool follow, struct stream_stat *out)
{
	const struct device *d = find(path, len);
	size_t rest;
	const struct link *link = d ? NULL : find_link(path, len, &rest);

	if (link && (follow || rest))
		return stat_led(link, path, len, rest, follow, out);
	if (len && !d && !link)
		return -ENOENT;
	*out = (struct stream_stat){.device = 5,
				    .number = d	     ? d->number
					      : link ? 0x600 + (uint64_t)(link - links)
						     : 1,
				    .links = 1,
				    .mode = d	   ? 020666
					    : link ? 0120777
						   : 040755,
				    .size = link ? strlen(link->target) : 0,
				    .rdevice = d ? d->number : 0,
				    .block_bytes = PAGE_SIZE};
	return 0;
}

static struct name_provider provider = {
    .prefix = "/dev", .open = device_open, .stat = device_stat, .read_link = device_read_link};

struct files *files_new_console(void)
{
	struct files *f = files_new();

	for (int fd = 0; f && fd < 3; fd++) {
		struct stream *s = tty_open(STREAM_RDWR);

		if (!s) {
			files_put(f);
			return NULL;
		}
		files_set(f, fd, s, false);
	}
	return f;
}

void device_init(void);
void device_init(void)
{
	name_provider_register(&provider);
}
