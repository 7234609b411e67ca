// SPDX-License-Identifier: BSD-2-Clause
// /dev: null, zero, full, urandom (and random), console (and tty). A provider of names (include/kernel/stream.h).
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

// ---- the directory itself ----

static int read_dir(struct stream *s, uint64_t *cursor,
		    bool (*visit)(void *ctx, const char *name, size_t len, uint64_t number,
				  unsigned type, uint64_t next),
		    void *ctx)
{
	enum { DT_CHR = 2 };

	while (*cursor < ARRAY_SIZE(devices)) {
		const struct device *d = &devices[*cursor];

		if (!visit(ctx, d->name, strlen(d->name), d->number, DT_CHR, *cursor + 1))
			break;
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

	if (len && !d)
		return -ENOENT;
	*out = (struct stream_stat){.device = 5,
				    .number = d ? d->number : 1,
				    .links = 1,
				    .mode = d ? 020666 : 040755,
				    .rdevice = d ? d->number : 0,
				    .block_bytes = PAGE_SIZE};
	return 0;
}

static struct name_provider provider = {.prefix = "/dev", .open = device_open, .stat = device_stat};

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
