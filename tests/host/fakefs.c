// SPDX-License-Identifier: BSD-2-Clause
// See fakefs.h. File `n` has its blocks at disk block n << 24 and up, a part of its extents 1 << 23
// further on when it is not contiguous.
#include "fakefs_private.h"

#include <stdlib.h>
#include <string.h>

#include "fs/partition.h"
#include "fs/volume_private.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/wtd.h"
#include "shim.h"

#define NODES_MAX FAKE_NODES

struct node {
	uint64_t number, dir;
	char name[256], target[1024];
	enum inode_type type;
	uint64_t size;
	int error;
	uint32_t extent;
	bool holes, contiguous, unlinked;
	bool written;		    // has no blocks but those that were allocated since fake_start
	uint64_t bad_disk, bad_map; // blocks; UINT64_MAX: none
};

struct fake_rules fake_rules;
struct fake_counts fake_counts;
static struct node *nodes;
static uint64_t node_count;

static bool happens(unsigned percent)
{
	return shim_random_below(100) < percent;
}

static void take_a_while(void)
{
	if (fake_rules.format_sleeps)
		thread_sleep_ns(1 + shim_random_below(1000));
}

// ---- the format ----

static struct node *node_of_lba(uint64_t lba, uint64_t *block)
{
	uint64_t at = lba * 512 / fake_rules.block_bytes, number = at >> 24;
	*block = at & 0x7fffff;
	return number && number <= node_count ? &nodes[number] : NULL;
}

bool fake_sector_bad(uint64_t lba)
{
	uint64_t block;
	struct node *n = node_of_lba(lba, &block);
	return n && n->bad_disk == block;
}

static struct node *node_of(uint64_t number)
{
	ASSERT(number && number <= node_count);
	return &nodes[number];
}

static int fake_mount(struct volume *volume)
{
	strcpy(volume->name, "SYS");
	volume->block_bytes = fake_rules.block_bytes;
	volume->blocks = volume->dev->sectors / (volume->block_bytes / 512);
	volume->read_only = !fake_rules.writable;
	volume->state = "clean";
	return 0;
}

static void fake_unmount(struct volume *volume) {}

static int fake_read_inode(struct inode *inode)
{
	struct node *n = inode->number <= node_count ? &nodes[inode->number] : NULL;
	fake_counts.inode_reads++;
	take_a_while();
	if (!n || n->unlinked)
		return -ENOENT;
	inode->type = n->type;
	inode->size = n->size;
	fake_set_disk_size(inode->number, n->size);
	inode->mode = 0644;
	inode->links = 1;
	*(uint64_t *)inode_format_data(inode) = inode->number;
	return n->error;
}

static void fake_forget_inode(struct inode *inode)
{
	ASSERT(*(uint64_t *)inode_format_data(inode) == inode->number);
	fake_counts.forgotten++;
}

static int fake_lookup(struct inode *dir, const char *name, size_t len, uint64_t *number)
{
	fake_counts.lookups++;
	take_a_while();
	if (len == 2 && !memcmp(name, "..", 2)) {
		*number = node_of(dir->number)->dir;
		return 0;
	}
	for (uint64_t i = 1; i <= node_count; i++)
		if (nodes[i].dir == dir->number && !nodes[i].unlinked &&
		    strlen(nodes[i].name) == len && !memcmp(nodes[i].name, name, len)) {
			*number = i;
			return 0;
		}
	return -ENOENT;
}

static int fake_read_dir(struct inode *dir, uint64_t *cursor,
			 bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx)
{
	while (*cursor < node_count) {
		struct node *n = &nodes[++*cursor];
		if (n->dir != dir->number || n->unlinked || n->number == FAKE_ROOT)
			continue;
		struct dir_entry entry = {n->name, (uint8_t)strlen(n->name), n->type, n->number};
		if (!visit(ctx, &entry))
			break;
	}
	return 0;
}

static int fake_read_link(struct inode *link, char *target, size_t size)
{
	struct node *n = node_of(link->number);
	size_t len = strlen(n->target);
	fake_counts.links++;
	take_a_while();
	ASSERT(n->type == INODE_SYMLINK && len <= size);
	memcpy(target, n->target, len);
	return (int)len;
}

static bool extent_hole(const struct node *n, uint64_t block)
{
	return n->holes && block / n->extent % 3 == 1;
}

static uint64_t disk_block(const struct node *n, uint64_t block)
{
	bool apart = !n->contiguous && block / n->extent % 2;
	return (n->number << 24) + block + (apart ? 1 << 23 : 0);
}

static int fake_map(struct inode *inode, uint64_t block, struct fs_extent *out)
{
	const struct node *n = node_of(inode->number);
	ASSERT(block * fake_rules.block_bytes < inode->size || fake_rules.writable);
	fake_counts.maps++;
	if (n->bad_map == block)
		return -EUCLEAN;
	*out = (struct fs_extent){0};
	if (fake_block_of(n->number, block, &out->disk_block) || n->written) {
		out->hole = !fake_block_of(n->number, block, &out->disk_block);
		out->file_block = block;
		out->count = 1;
		return 0;
	}
	out->file_block = block / n->extent * n->extent;
	out->count = n->extent;
	if (n->bad_map >= out->file_block && n->bad_map - out->file_block < n->extent) {
		out->file_block = block;
		out->count = 1;
	}
	out->disk_block = disk_block(n, out->file_block);
	out->hole = extent_hole(n, block);
	return 0;
}

static int fake_map_sleeping(struct inode *inode, uint64_t block, struct fs_extent *out)
{
	assert_may_sleep("map");
	take_a_while();
	return fake_map(inode, block, out);
}

static int fake_map_cached(struct inode *inode, uint64_t block, struct fs_extent *out)
{
	return happens(fake_rules.map_again_pct) ? -EAGAIN : fake_map(inode, block, out);
}

const struct filesystem ext4_filesystem = {
    .name = "fake",
    .mount = fake_mount,
    .unmount = fake_unmount,
    .root_inode = FAKE_ROOT,
    .read_inode = fake_read_inode,
    .forget_inode = fake_forget_inode,
    .lookup = fake_lookup,
    .read_dir = fake_read_dir,
    .read_link = fake_read_link,
    .map = fake_map_sleeping,
    .map_cached = fake_map_cached,
    .writing = &fake_writing,
};

// ---- what tests call ----

static struct node *add(uint64_t dir, const char *name, enum inode_type type)
{
	ASSERT(node_count + 1 < NODES_MAX);
	struct node *n = &nodes[++node_count];
	*n = (struct node){.number = node_count,
			   .dir = dir,
			   .type = type,
			   .extent = 1 << 20,
			   .contiguous = true,
			   .bad_disk = UINT64_MAX,
			   .bad_map = UINT64_MAX};
	strcpy(n->name, name);
	return n;
}

uint64_t fake_file(uint64_t dir, const char *name, uint64_t size)
{
	struct node *n = add(dir, name, INODE_FILE);
	n->size = size;
	return n->number;
}

uint64_t fake_new_file(uint64_t dir, const char *name)
{
	struct node *n = add(dir, name, INODE_FILE);
	n->written = true;
	return n->number;
}

bool fake_disk_block(uint64_t number, uint64_t block, uint8_t *out)
{
	const struct node *n = node_of(number);
	uint64_t disk;
	if (!fake_block_of(number, block, &disk)) {
		if (n->written || extent_hole(n, block))
			return false;
		disk = disk_block(n, block);
	}
	for (uint64_t s = 0; s < fake_rules.block_bytes / 512; s++) {
		uint64_t words[64], lba = disk * (fake_rules.block_bytes / 512) + s;
		for (unsigned i = 0; i < 64; i++)
			words[i] = fake_sector_word(lba, i);
		fake_sector_get(lba, words);
		memcpy(out + s * 512, words, 512);
	}
	return true;
}

unsigned fake_disk_byte(uint64_t number, uint64_t at)
{
	uint8_t bytes[PAGE_SIZE];
	bool there = fake_disk_block(number, at / fake_rules.block_bytes, bytes);
	return there ? bytes[at % fake_rules.block_bytes] : 256;
}

uint64_t fake_dir(uint64_t dir, const char *name)
{
	return add(dir, name, INODE_DIRECTORY)->number;
}

uint64_t fake_link(uint64_t dir, const char *name, const char *target)
{
	struct node *n = add(dir, name, INODE_SYMLINK);
	strcpy(n->target, target);
	return n->number;
}

void fake_unlink(uint64_t dir, const char *name)
{
	for (uint64_t i = 1; i <= node_count; i++)
		if (nodes[i].dir == dir && !strcmp(nodes[i].name, name))
			nodes[i].unlinked = true;
}

void fake_set_error(uint64_t number, int error)
{
	node_of(number)->error = error;
}

void fake_layout(uint64_t number, uint32_t blocks, bool holes, bool contiguous)
{
	struct node *n = node_of(number);
	n->extent = blocks;
	n->holes = holes;
	n->contiguous = contiguous;
}

void fake_bad_block(uint64_t number, uint64_t block, bool on_disk, bool map)
{
	struct node *n = node_of(number);
	n->bad_disk = on_disk ? block : UINT64_MAX;
	n->bad_map = map ? block : UINT64_MAX;
}

bool fake_page_bad(uint64_t number, uint64_t index)
{
	const struct node *n = node_of(number);
	uint64_t per_page = PAGE_SIZE / fake_rules.block_bytes;
	bool on_disk = n->bad_disk / per_page == index && !extent_hole(n, n->bad_disk);
	return on_disk || n->bad_map / per_page == index;
}

bool fake_page_hole(uint64_t number, uint64_t index)
{
	const struct node *n = node_of(number);
	uint64_t per_page = PAGE_SIZE / fake_rules.block_bytes;
	for (uint64_t b = index * per_page; b < (index + 1) * per_page; b++)
		if (b * fake_rules.block_bytes < n->size && !extent_hole(n, b))
			return false;
	return true;
}

bool fake_page_right(uint64_t number, uint64_t index, paddr_t addr)
{
	const struct node *n = node_of(number);
	uint64_t words[512];
	shim_dma_read(addr, words, sizeof(words));
	uint8_t *bytes = (uint8_t *)words;
	for (unsigned i = 0; i < 512; i++) {
		uint64_t at = index * PAGE_SIZE + i * 8, block = at / fake_rules.block_bytes;
		uint64_t lba = disk_block(n, block) * (fake_rules.block_bytes / 512) +
			       at % fake_rules.block_bytes / 512;
		uint64_t want = extent_hole(n, block) ? 0 : fake_sector_word(lba, i % 64);
		uint64_t left = at < n->size ? n->size - at : 0;
		if (left < 8)
			want &= left ? UINT64_MAX >> (64 - left * 8) : 0;
		if (memcmp(&bytes[i * 8], &want, 8))
			return false;
	}
	return true;
}

struct volume *fake_start(size_t frames)
{
	shim_init(frames);
	fake_counts = (struct fake_counts){0};
	fake_rules.block_bytes = fake_rules.block_bytes ? fake_rules.block_bytes : 4096;
	nodes = calloc(NODES_MAX, sizeof(*nodes));
	node_count = 0;
	fake_write_start();
	add(0, "lost", INODE_OTHER);
	add(FAKE_ROOT, "", INODE_DIRECTORY);
	nodes[FAKE_ROOT].dir = FAKE_ROOT;
	fake_disk_start();
	pagecache_init();
	volume_init();
	if (volume_mount_all() != 1)
		PANIC("the fake volume was not mounted");
	return volume_first();
}

int fake_stop(void)
{
	shim_advance(NS_PER_SEC); // reads that nobody waits for come to their end
	if (page_pinned() ||
	    kstat_get("pagewire_inodes", NULL) - kstat_get("pagewire_inodes_idle", NULL) > 1)
		return -1; // the test failed half-way
	fake_disk_stop();
	if (fake_rules.writable)
		(void)writeback_close(volume_first());
	volume_unmount_all();
	fake_write_stop();
	pagecache_stop();
	shim_finish();
	free(nodes);
	fake_rules = (struct fake_rules){0};
	return 0;
}
