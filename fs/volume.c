// SPDX-License-Identifier: BSD-2-Clause
// Volumes: what is found on the disks at boot, in the order of the disks and their partitions. A disk
// without a partition table is tried as a whole. Volumes stay until the machine stops.
#include "fs/volume.h"
#include "fs/name.h"
#include "fs/partition.h"
#include "fs/transaction.h"
#include "fs/volume_private.h"

#include "kernel/console.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pool.h"

#define VOLUMES_MAX 64 // more partitions than a machine of this kind has

static struct pool volume_pool = POOL_INIT("volume", struct volume_private, VOLUMES_MAX);
// Made at boot by one thread; afterwards only read.
static struct volume *volumes;
static uint32_t last_id;
static uint64_t mounted, refused;
KSTAT_GAUGE(mounted, "pagewire_volumes", "Volumes mounted.");
KSTAT_GAUGE(refused, "pagewire_volumes_refused", "Devices whose file system was refused.");

struct volume *volume_first(void)
{
	return volumes;
}

struct volume *volume_find(const char *name)
{
	struct volume *v = volumes;
	while (v && kstrcasecmp(v->name, name))
		v = v->next;
	return v;
}

uint64_t volumes_failed(void)
{
	uint64_t failed = 0;
	for (struct volume *v = volumes; v; v = v->next)
		failed += volume_private(v)->failed;
	return failed;
}
KSTAT_GAUGE_FN(volumes_failed, "pagewire_volumes_failed", NULL,
	       "Volumes that became read-only because of an error.", volumes_failed);

struct volume *volume_root(void)
{
	struct volume *sys = volume_find("SYS");
	return sys ? sys : volumes;
}

struct inode *volume_root_inode(struct volume *volume)
{
	struct inode *root = volume_private(volume)->root;
	inode_get(root);
	return root;
}

void volume_lock_shared(struct volume *volume)
{
	rw_lock_shared(&volume_private(volume)->lock);
}

void volume_unlock_shared(struct volume *volume)
{
	rw_unlock_shared(&volume_private(volume)->lock);
}

// "DATA", "DATA-2", "DATA-3"; no label: the device's name. What cannot stand in a path or on a console
// line becomes '_'.
static void make_unique(struct volume *volume)
{
	char base[sizeof(volume->name) - 4], *c;
	kstrlcpy(base, volume->name[0] ? volume->name : volume->dev->name, sizeof(base));
	for (c = base; *c; c++)
		if ((uint8_t)*c < ' ' || *c == 0x7f || *c == '/')
			*c = '_';
	kstrlcpy(volume->name, base, sizeof(volume->name));
	for (unsigned n = 2; volume_find(volume->name); n++)
		ksnprintf(volume->name, sizeof(volume->name), "%s-%u", base, n);
}

static bool write_wanted; // write=on

void volume_set_write(bool on)
{
	write_wanted = on;
}

// Sleeps. Everything that was changed gets home.
static void end_writing(struct volume *volume)
{
	if (!volume_private(volume)->log || !volume_filesystem(volume)->writing)
		return;
	if (writeback_close(volume))
		kprintf("volume %s: not everything could be written\n", volume->name);
	inode_wait_deleted(); // whom the last write held
	volume_filesystem(volume)->writing->end_writing(volume);
}

static void end_all_writing(void)
{
	for (struct volume *v = volumes; v; v = v->next)
		end_writing(v);
}
SHUTDOWN_STEP(volumes, 50, "Writing the volumes home", end_all_writing);

static void forget_volume(struct volume_private *v)
{
	pagecache_drop();
	ASSERT(!v->meta.pages && !v->log);
	writeback_stop(&v->writeback);
	journal_map_free(&v->replaced);
	pool_free(&volume_pool, v);
}

static void append(struct volume *volume)
{
	struct volume **link = &volumes;
	while (*link)
		link = &(*link)->next;
	*link = volume;
	mounted++;
}

int volume_mount(struct block_device *dev, const struct filesystem *fs)
{
	struct volume_private *v = pool_alloc(&volume_pool);
	if (!v)
		return -ENOMEM;
	v->fs = fs;
	v->volume.dev = dev;
	v->volume.id = last_id + 1;
	page_owner_init(&v->meta, NULL, &v->volume);
	rwlock_init(&v->lock, "volume");
	writeback_init(&v->writeback, &v->volume);
	int error = fs->mount(&v->volume);
	if (error) {
		forget_volume(v);
		return error;
	}
	if (write_wanted && fs->writing)
		(void)!fs->writing->prepare_writing(&v->volume);
	last_id++;
	error = inode_open(&v->volume, fs->root_inode, &v->root);
	if (!error && v->root->type != INODE_DIRECTORY)
		error = -EUCLEAN;
	if (error) {
		kprintf("%s: the root directory cannot be read (error %d)\n", dev->name, -error);
		if (v->root)
			inode_put(v->root);
		inode_drop_unused(SIZE_MAX);
		end_writing(&v->volume);
		fs->unmount(&v->volume);
		forget_volume(v);
		return error;
	}
	make_unique(&v->volume);
	append(&v->volume);
	kprintf("volume %s: %s on %s, %lu MB, %s\n", v->volume.name, fs->name, dev->name,
		(unsigned long)(v->volume.blocks * v->volume.block_bytes >> 20), v->volume.state);
	return 0;
}

static bool has_partitions(const struct block_device *disk)
{
	for (struct block_device *dev = block_first(); dev; dev = dev->next)
		if (dev->parent == disk)
			return true;
	return false;
}

unsigned volume_mount_all(void)
{
	struct block_device *dev;
	for (dev = block_first(); dev; dev = dev->next)
		if (!dev->parent)
			partition_scan(dev);
	for (dev = block_first(); dev; dev = dev->next) {
		if (!dev->parent && has_partitions(dev))
			continue;
		int error = volume_mount(dev, &ext4_filesystem);
		if (error == -ENODEV)
			kprintf("%s: no file system that we know\n", dev->name);
		else if (error)
			refused++;
	}
	if (!mounted)
		kprintf(block_first()
			    ? "no volume: no disk here holds a file system that can be served\n"
			    : "no volume: no disk was found\n");
	return (unsigned)mounted;
}

void volume_init(void)
{
	inode_init();
	name_cache_init();
}

void volume_unmount_all(void)
{
	for (struct volume *v = volumes; v; v = v->next)
		inode_put(volume_private(v)->root);
	inode_wait_deleted();
	end_all_writing(); // before the caches are dropped: they hold what is not written
	pagecache_drop();
	inode_drop_unused(SIZE_MAX);
	while (volumes) {
		struct volume_private *v = volume_private(volumes);
		volumes = volumes->next;
		v->fs->unmount(&v->volume);
		forget_volume(v);
	}
	mounted = 0;
	inode_stop();
	name_cache_stop();
}

static void drop_caches(void)
{
	for (struct volume *v = volumes; v; v = v->next) {
		int error = writeback_all(v);
		if (volume_writable(v) && (transaction_settle(v) || error))
			kprintf("volume %s: not everything got home\n", v->name);
	}
	pagecache_drop();
	name_cache_drop();
	inode_drop_unused(SIZE_MAX);
}
KTEST_DROP(volumes, drop_caches);

static void print_volumes(void)
{
	for (struct volume *v = volumes; v; v = v->next) {
		console_printf("%-16s %-12s %-6s %lu KB blocks, %lu of %lu MB free, %lu of %lu "
			       "inodes free, %s%s\n",
			       v->name, v->dev->name, volume_filesystem(v)->name,
			       (unsigned long)v->block_bytes >> 10,
			       (unsigned long)(v->blocks_free * v->block_bytes >> 20),
			       (unsigned long)(v->blocks * v->block_bytes >> 20),
			       (unsigned long)v->inodes_free, (unsigned long)v->inodes, v->state,
			       v == volume_root() ? " (root of HTTP)" : "");
	}
	if (!volumes)
		console_printf("No volumes.\n");
}
CONSOLE_SECTION(volume_list, "VOLUMES", 10, print_volumes);
