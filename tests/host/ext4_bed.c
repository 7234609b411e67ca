// SPDX-License-Identifier: BSD-2-Clause
// See ext4_bed.h.
#include "ext4_bed.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "shim.h"

#define FRAMES 6144

struct volume *bed_volume;
static uint8_t *image;
static size_t image_bytes;
static char said[1 << 16];
static uint64_t reads_left = UINT64_MAX;
static bool failed;

static const char *path(void)
{
	static char text[200];
	snprintf(text, sizeof(text), "%s/pagewire-%d-ext4", getenv("TMPDIR") ?: "/tmp", getpid());
	return text;
}

static int run(const char *format, va_list args)
{
	char command[1024];
	vsnprintf(command, sizeof(command), format, args);
	FILE *f = popen(command, "r");
	size_t len = f ? fread(said, 1, sizeof(said) - 1, f) : 0;
	said[len] = 0;
	int status = f ? pclose(f) : -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int command(const char *format, ...) PRINTF_LIKE(1, 2);
static int command(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int status = run(format, args);
	va_end(args);
	return status;
}

// ---- the disk: requests are done one after the other ----

static struct block_request *queue;
static struct wtd disk_work;

static void transfer(const struct block_request *r)
{
	uint8_t *at = image + (r->disk_lba << SECTOR_SHIFT);
	for (uint32_t i = 0; i < r->nsegs; at += r->segs[i++].bytes) {
		if (r->op == BLOCK_READ)
			shim_dma_write(r->segs[i].addr, at, r->segs[i].bytes);
		else
			shim_dma_read(r->segs[i].addr, at, r->segs[i].bytes);
	}
}

static void work(struct wtd *w)
{
	while (queue) {
		struct block_request *r = queue;
		queue = r->next;
		bool fails = r->op == BLOCK_READ && !reads_left;
		if (r->op == BLOCK_READ && reads_left && reads_left != UINT64_MAX)
			reads_left--;
		if (fails)
			failed = true;
		else
			transfer(r);
		block_complete(r, fails ? -EIO : 0);
	}
}

static void submit(struct block_device *dev, struct block_request *r)
{
	struct block_request **link = &queue;
	while (*link)
		link = &(*link)->next;
	*link = r;
	r->next = NULL;
	wtd_post_fast(&disk_work);
}

static struct block_device disk = {.name = "bed",
				   .sector_bytes = 512,
				   .max_segs = 128,
				   .max_sectors = 1024,
				   .queue_depth = 32,
				   .submit = submit};

void bed_fail_reads(uint64_t k)
{
	reads_left = k;
	failed = false;
}

bool bed_failed(void)
{
	return failed;
}

// ---- the volume ----

bool bed_try_mount(void)
{
	struct stat st;
	int fd = open(path(), O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		PANIC("%s cannot be opened", path());
	image_bytes = (size_t)st.st_size;
	image = mmap(NULL, image_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (image == MAP_FAILED)
		PANIC("%s cannot be mapped", path());
	disk.sectors = image_bytes >> SECTOR_SHIFT;
	shim_init(FRAMES);
	wtd_init(&disk_work, work, "bed disk");
	pagecache_init();
	volume_init();
	volume_set_write(true);
	int error = volume_mount(&disk, &ext4_filesystem);
	bed_volume = error ? NULL : volume_first();
	return bed_volume && volume_writable(bed_volume);
}

struct ext4 *bed_mount(void)
{
	if (!bed_try_mount())
		PANIC("the volume cannot be written");
	return bed_volume->private;
}

void bed_change(void (*change)(uint8_t *bytes, uint64_t size))
{
	struct stat st;
	int fd = open(path(), O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		PANIC("%s cannot be opened", path());
	uint8_t *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (bytes == MAP_FAILED)
		PANIC("%s cannot be mapped", path());
	change(bytes, (uint64_t)st.st_size);
	munmap(bytes, (size_t)st.st_size);
}

void bed_keep(void)
{
	if (command("cp --sparse=always %s %s-then", path(), path()))
		PANIC("keep: %s", said);
}

void bed_again(void)
{
	if (command("cp --sparse=always %s-then %s", path(), path()))
		PANIC("again: %s", said);
}

void bed_remove(void)
{
	(void)command("rm -f %s %s-then", path(), path());
}

void bed_settle(void)
{
	int error = transaction_settle(bed_volume);
	if (error)
		PANIC("settle: %d", error);
}

void bed_snapshot(void)
{
	bed_settle();
	bed_keep();
}

void bed_restore(void)
{
	bed_unmount(false);
	if (command("mv %s-then %s", path(), path()))
		PANIC("restore: %s", said);
}

void bed_forget_cache(void)
{
	bed_settle();
	pagecache_drop();
}

// Its exit status says nothing about wrong totals. That a tree could be packed closer is no fault.
static bool complains(void)
{
	static const char optional[] = "Optimize";
	const size_t len = sizeof(optional) - 1;
	for (const char *at = strstr(said, "? no"); at; at = strstr(at + 1, "? no"))
		if ((size_t)(at - said) < len || memcmp(at - len, optional, len))
			return true;
	return false;
}

void bed_unmount(bool fsck)
{
	shim_run();
	volume_unmount_all();
	pagecache_stop();
	shim_finish();
	munmap(image, image_bytes);
	if (fsck && (command("e2fsck -fn %s 2>&1", path()) || complains()))
		PANIC("e2fsck: %s", said);
}

void bed_make(const char *words, const char *size)
{
	if (command("rm -f %s; mke2fs -q -F -t ext4 %s %s %s 2>&1", path(), words, path(), size))
		PANIC("mke2fs %s: %s", words, said);
}

struct ext4 *bed_start(const char *words, const char *size)
{
	bed_make(words, size);
	return bed_mount();
}

void bed_finish(void)
{
	bed_unmount(true);
	unlink(path());
}

const char *bed_debugfs(const char *format, ...)
{
	char line[300];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	(void)command("debugfs -w -R '%s' %s 2>/dev/null", line, path());
	return said;
}

void bed_command(const char *words)
{
	char line[500];
	snprintf(line, sizeof(line), words, path());
	if (command("%s 2>&1", line))
		PANIC("%s: %s", line, said);
}
