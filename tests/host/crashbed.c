// SPDX-License-Identifier: BSD-2-Clause
// See crashbed.h.
#include "crashbed.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "shim.h"

#define FRAMES 2048

static char said[65536];

static const char *scratch(const char *what)
{
	static char path[4][200];
	static unsigned which;
	char *p = path[which++ % 4];
	snprintf(p, sizeof(path[0]), "%s/pagewire-%d-%s", getenv("TMPDIR") ?: "/tmp", getpid(),
		 what);
	return p;
}

// Runs a command line; its exit status, its output in `said`.
static int run(const char *format, ...)
{
	char command[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	FILE *f = popen(command, "r");
	size_t len = f ? fread(said, 1, sizeof(said) - 1, f) : 0;
	said[len] = 0;
	int status = f ? pclose(f) : -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

const char *crashbed_said(void)
{
	return said;
}

void crashbed_make(const char *words, const char *size, const char *tree)
{
	const char *path = scratch("image");
	int status = run("rm -f %s; mke2fs -q -F -t ext4 %s %s%s %s %s 2>&1", path, words,
			 tree ? "-d " : "", tree ?: "", path, size);
	if (status)
		PANIC("mke2fs %s: %s", words, said);
	crashdisk_load(path);
	unlink(path);
}

struct volume *crashbed_mount(bool write)
{
	shim_init(FRAMES);
	pagecache_init();
	volume_init();
	volume_set_write(write);
	int error = volume_mount(crashdisk_device(), &ext4_filesystem);
	if (error)
		crashbed_unmount();
	return error ? NULL : volume_first();
}

void crashbed_unmount(void)
{
	shim_advance(NS_PER_SEC); // reads that nobody waits for come to their end
	volume_unmount_all();
	pagecache_stop();
	shim_finish();
}

void crashbed_power_off(void)
{
	crashdisk_unplug(true);
	crashbed_unmount();
	crashdisk_unplug(false);
}

int crashbed_fsck(void)
{
	const char *path = scratch("check");
	crashdisk_save(path);
	int status = run("e2fsck -fn %s 2>&1", path);
	unlink(path);
	return status;
}

int crashbed_replay_by_e2fsck(void)
{
	const char *path = scratch("replay");
	crashdisk_save(path);
	int status = run("e2fsck -fy %s 2>&1", path);
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = malloc(crashdisk_size());
	if (!f || fread(bytes, 1, crashdisk_size(), f) != crashdisk_size())
		PANIC("%s cannot be read", path);
	fclose(f);
	crashdisk_swap(bytes);
	free(bytes);
	unlink(path);
	return status;
}

const char *crashbed_debugfs(const char *command)
{
	const char *path = scratch("debugfs");
	crashdisk_save(path);
	(void)run("debugfs -R '%s' %s 2>/dev/null", command, path);
	unlink(path);
	return said;
}
