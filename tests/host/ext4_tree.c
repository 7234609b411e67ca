// SPDX-License-Identifier: BSD-2-Clause
// See ext4_tree.h.
#define _GNU_SOURCE
#include "ext4_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/panic.h"

#define PIECE 65536

static const struct filesystem *const fs = &ext4_filesystem;

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond);                 \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

// e2fsprogs live where an ordinary user's PATH does not look.
static __attribute__((constructor)) void find_tools(void)
{
	const char *path = getenv("PATH");
	char longer[4096];
	snprintf(longer, sizeof(longer), "%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
	setenv("PATH", longer, 1);
}

void ext4_make_images(const char *group)
{
	char command[256];
	snprintf(command, sizeof(command),
		 "python3 tests/host/ext4_images.py %s " EXT4_IMAGES "/%s", group, group);
	CHECK(!system(command), "%s", command);
}

static void compare_piece(struct image *image, struct inode *inode, int fd, uint64_t offset,
			  size_t len, const char *path)
{
	static uint8_t mine[PIECE], theirs[PIECE];
	CHECK(pread(fd, theirs, len, (off_t)offset) == (ssize_t)len, "%s", path);
	int error = image_read(image, inode, offset, mine, len);
	CHECK(!error, "%s at %lu: %d", path, (unsigned long)offset, error);
	CHECK(!memcmp(mine, theirs, len), "%s differs after %lu", path, (unsigned long)offset);
}

static void compare_file(struct image *image, struct inode *inode, const char *path, uint64_t size)
{
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0, "%s", path);
	for (uint64_t at = 0; at < size;) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		uint64_t from = data < 0 ? size : (uint64_t)data;
		if (from > at) // in the hole: its ends and something in between
			for (int i = 0; i < 3; i++) {
				uint64_t spot = at + (from - at - 1) / 2 * (unsigned)i;
				compare_piece(image, inode, fd, spot, MIN(from - spot, 512UL),
					      path);
			}
		off_t end = data < 0 ? (off_t)size : lseek(fd, data, SEEK_HOLE);
		for (at = from; at < (uint64_t)end; at += PIECE)
			compare_piece(image, inode, fd, at, MIN((uint64_t)end - at, PIECE), path);
		at = (uint64_t)end;
	}
	close(fd);
}

struct names {
	struct {
		char name[256];
		enum inode_type type;
		uint64_t number;
	} * list;
	size_t count, stop_every;
};

static bool collect(void *ctx, const struct dir_entry *entry)
{
	struct names *names = ctx;
	names->list = realloc(names->list, (names->count + 1) * sizeof(*names->list));
	memcpy(names->list[names->count].name, entry->name, entry->name_len);
	names->list[names->count].name[entry->name_len] = 0;
	names->list[names->count].type = entry->type;
	names->list[names->count].number = entry->number;
	return ++names->count % names->stop_every;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

// All entries, sorted; in several calls, to see that the cursor goes on where it stopped.
static struct names list_dir(struct inode *dir, const char *path)
{
	struct names names = {.stop_every = 1 + dir->size / 1024 % 50};
	uint64_t cursor = 0;
	size_t before;
	do {
		before = names.count;
		int error = fs->read_dir(dir, &cursor, collect, &names);
		CHECK(!error, "%s: %d", path, error);
	} while (names.count != before);
	CHECK(cursor == dir->size, "%s: cursor %lu", path, (unsigned long)cursor);
	if (names.count)
		qsort(names.list, names.count, sizeof(*names.list), by_name);
	return names;
}

static void compare_link(struct inode *inode, const char *path)
{
	char mine[4097], theirs[4097];
	ssize_t len = readlink(path, theirs, sizeof(theirs) - 1);
	CHECK(len > 0, "%s", path);
	int got = fs->read_link(inode, mine, sizeof(mine));
	CHECK(got == len && !memcmp(mine, theirs, (size_t)len) && !mine[len], "%s: %d", path, got);
	CHECK(fs->read_link(inode, mine, (size_t)len) == -ENAMETOOLONG, "%s", path);
}

static enum inode_type type_of(mode_t mode)
{
	return S_ISREG(mode)   ? INODE_FILE
	       : S_ISDIR(mode) ? INODE_DIRECTORY
	       : S_ISLNK(mode) ? INODE_SYMLINK
			       : INODE_OTHER;
}

static unsigned compare_one(struct image *image, struct inode *inode, const char *path)
{
	struct stat st;
	CHECK(!lstat(path, &st), "%s", path);
	CHECK(inode->type == type_of(st.st_mode), "%s: type %d", path, inode->type);
	CHECK(inode->mode == (st.st_mode & 07777), "%s: mode %o", path, inode->mode);
	CHECK(inode->mtime_sec == st.st_mtime, "%s: mtime %ld", path, inode->mtime_sec);
	switch (inode->type) {
	case INODE_DIRECTORY:
		return 1 + ext4_compare_tree(image, inode, path, false);
	case INODE_FILE:
		CHECK(inode->size == (uint64_t)st.st_size, "%s: size", path);
		CHECK(inode->links == st.st_nlink, "%s: %u links", path, inode->links);
		compare_file(image, inode, path, inode->size);
		return 1;
	case INODE_SYMLINK:
		compare_link(inode, path);
		return 1;
	default:
		return 1;
	}
}

unsigned ext4_compare_tree(struct image *image, struct inode *dir, const char *host_path, bool root)
{
	struct names names = list_dir(dir, host_path);
	DIR *host = opendir(host_path);
	size_t seen = root; // lost+found
	unsigned compared = 0;
	CHECK(host, "%s", host_path);
	for (struct dirent *e; (e = readdir(host));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		char path[4200];
		uint64_t number;
		snprintf(path, sizeof(path), "%s/%s", host_path, e->d_name);
		int error = fs->lookup(dir, e->d_name, strlen(e->d_name), &number);
		CHECK(!error, "%s: %d", path, error);
		struct inode *inode = image_inode(image, number, &error);
		CHECK(inode, "%s: inode %lu: %d", path, (unsigned long)number, error);
		char(*found)[sizeof(*names.list)] =
		    bsearch(e->d_name, names.list, names.count, sizeof(*names.list), by_name);
		CHECK(found, "%s is not listed", path);
		CHECK(names.list[found - (char(*)[sizeof(*names.list)])names.list].type ==
			  inode->type,
		      "%s: type in the listing", path);
		compared += compare_one(image, inode, path);
		image_inode_free(inode);
		seen++;
	}
	CHECK(seen == names.count, "%s: %zu listed, %zu there", host_path, names.count, seen);
	closedir(host);
	free(names.list);
	return compared;
}

// ---- whatever it is ----

struct everything {
	struct image *image;
	unsigned depth, inodes, errors;
};
#define MAX_DEPTH  8
#define MAX_INODES 2000
#define MAX_BLOCKS 400

static void read_inode_everything(struct everything *all, uint64_t number);

static bool visit_everything(void *ctx, const struct dir_entry *entry)
{
	struct everything *all = ctx;
	if (all->depth < MAX_DEPTH && all->inodes < MAX_INODES)
		read_inode_everything(all, entry->number);
	return all->inodes < MAX_INODES;
}

static void read_inode_everything(struct everything *all, uint64_t number)
{
	static uint8_t piece[4096];
	char target[4097];
	int error;
	uint64_t cursor = 0, found;
	struct inode *inode = image_inode(all->image, number, &error);
	all->inodes++;
	all->depth++;
	if (!inode) {
		all->errors++;
	} else if (inode->type == INODE_DIRECTORY) {
		all->errors += !!fs->read_dir(inode, &cursor, visit_everything, all);
		error = fs->lookup(inode, "n77-\xe4", 5, &found);
		all->errors += error && error != -ENOENT;
	} else if (inode->type == INODE_SYMLINK) {
		all->errors += fs->read_link(inode, target, sizeof(target)) < 0;
	} else if (inode->type == INODE_FILE) {
		uint32_t step = all->image->volume.block_bytes;
		uint64_t blocks = (inode->size + step - 1) / step;
		uint64_t stride = 1 + blocks / MAX_BLOCKS;
		for (uint64_t block = 0; block < blocks; block += stride)
			all->errors += !!image_read(all->image, inode, block * step, piece, step);
	}
	image_inode_free(inode);
	all->depth--;
}

unsigned ext4_read_everything(struct image *image)
{
	struct everything all = {.image = image};
	read_inode_everything(&all, fs->root_inode);
	return all.errors;
}
