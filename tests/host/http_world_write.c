// SPDX-License-Identifier: BSD-2-Clause
// What can be changed in the HTTP server's world (http_world.h): fs/file.h on files of memory. Writes wait,
// go on by themselves and fail as the knobs say; nothing is durable before durable_wait says so.
#include "fs/file.h"
#include <stdlib.h>
#include "http_world_private.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/vmm.h"
#include "shim.h"

uint64_t world_changes, world_committed;
static uint64_t next_number;
static struct durable *durables; // that wait

void world_write_start(void)
{
	world_changes = world_committed = 0;
	next_number = 1000;
	durables = NULL;

	world.blocks_free = 1000000;
	world.write_error_at = UINT64_MAX;
}

const uint8_t *world_bytes(const char *path, uint64_t *len)
{
	struct inode *inode = world_find(path);

	if (!inode)
		return NULL;
	*len = inode->size;
	return world_file_of(inode)->data;
}

struct inode *world_find(const char *path)
{
	for (unsigned i = 0; i < world_file_count; i++)
		if (world_files[i].inode.links && strcmp(world_files[i].path, path) == 0)
			return &world_files[i].inode;
	return NULL;
}

unsigned world_inodes(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < world_file_count; i++)
		n += world_files[i].inode.number != 0;
	return n;
}

// ---- bytes -------------------------------------------------------------------------------------------

static void put_bytes(struct world_file *f, uint64_t offset, const char *bytes, size_t len)
{
	ASSERT(offset + len <= WORLD_PAGES_MAX * PAGE_SIZE);
	if (!f->data) { // the pattern it was made with becomes bytes
		f->data_size = WORLD_PAGES_MAX * PAGE_SIZE;
		uint8_t *data = calloc(1, f->data_size);
		for (uint64_t i = 0; i < f->inode.size; i++)
			data[i] = world_content(f, i);
		f->data = data;
	}
	memcpy(f->data + offset, bytes, len);
	for (uint64_t p = offset >> PAGE_SHIFT; len && p <= (offset + len - 1) >> PAGE_SHIFT; p++)
		world_replace_page(f, p);
	f->inode.size = MAX(f->inode.size, offset + len);
	world_changed(&f->inode);
}

static int take(struct file_write *w, size_t n)
{
	if (world.write_error && w->offset + n > world.write_error_at)
		return world.write_error;
	if (w->copy) {
		char *copy = malloc(n);
		ASSERT(w->copy(copy, w->bytes, n) == 0);
		put_bytes(world_file_of(w->inode), w->offset, copy, n);
		free(copy);
	} else {
		put_bytes(world_file_of(w->inode), w->offset, w->bytes, n);
	}
	w->offset += n;
	w->bytes += n;
	w->len -= n;
	return 0;
}

// Goes on by itself as far as it likes before it tells.
static void write_work(struct wtd *work)
{
	struct file_write *w = CONTAINER_OF(work, struct file_write, work);

	if (world.no_room) {
		wtd_post_after(&w->work, WTD_FAST, NS_PER_MS);
		return;
	}
	w->status = w->copy ? 0 : take(w, shim_random_below(w->len + 1));
	w->done(w);
}

int file_write(struct file_write *w)
{
	size_t n = w->len;

	ASSERT(world_file_of(w->inode)->references > 0 && w->len > 0);
	if (!world.no_room && !world_chance(world.write_wait))
		return take(w, n);
	if (!w->copy && !world.no_room && shim_random_below(2)) {
		int error = take(w, shim_random_below(n));
		if (error)
			return error;
	}
	wtd_init(&w->work, write_work, "world write");
	wtd_post_fast(&w->work);
	return -EAGAIN;
}

bool file_write_cancel(struct file_write *w)
{
	return world_chance(50) && wtd_cancel(&w->work);
}

static void sync_work(struct wtd *work)
{
	struct file_sync *sync = CONTAINER_OF(work, struct file_sync, work);

	sync->status = world.sync_error;
	sync->done(sync);
}

void file_sync(struct file_sync *sync)
{
	wtd_init(&sync->work, sync_work, "world sync");
	wtd_post_fast(&sync->work);
}

int file_sync_wait(struct inode *inode)
{
	return world.sync_error;
}

// ---- durability --------------------------------------------------------------------------------------

uint64_t volume_ticket(const struct volume *v)
{
	return world_changes;
}

static void commit_work(struct wtd *work);
static struct wtd commit = WTD_INIT(commit_work, "world commit");

static void commit_work(struct wtd *work)
{
	struct durable *all = durables;

	if (world.no_commit) {
		wtd_post_after(&commit, WTD_FAST, NS_PER_MS);
		return;
	}
	durables = NULL;
	world_committed = world_changes;
	while (all) {
		struct durable *d = all;
		all = d->next;
		d->status = world.durable_error;
		d->done(d);
	}
}

void durable_wait(struct durable *d)
{
	d->next = durables;
	durables = d;
	wtd_post_fast(&commit);
}

// ---- names -------------------------------------------------------------------------------------------

static int writable(void)
{
	return world.read_only ? -EROFS : 0;
}

static void path_of(struct inode *dir, const char *name, size_t len, char *out)
{
	const char *above = world_file_of(dir)->path;
	size_t n = strlen(above);

	memcpy(out, above, n);
	if (n)
		out[n++] = '/';
	memcpy(out + n, name, len);
	out[n + len] = 0;
}

static int name_ok(const char *name, size_t len)
{
	return len > 255 ? -ENAMETOOLONG : len == 0 || memchr(name, '/', len) ? -EINVAL : 0;
}

static void changed_name(struct inode *dir)
{
	world_changes++;
	world_names++;
}

int file_create(struct inode *dir, uint16_t mode, struct inode **out)
{
	if (writable())
		return writable();
	*out = world_add("\1", ++next_number, 0, INODE_FILE);
	(*out)->links = 0;
	world_file_of(*out)->data_size = WORLD_PAGES_MAX * PAGE_SIZE;
	world_file_of(*out)->data = calloc(1, WORLD_PAGES_MAX * PAGE_SIZE);
	inode_get(*out);
	world_changes++;
	return 0;
}

static void unname(struct inode *inode)
{
	struct world_file *f = world_file_of(inode);

	strcpy(f->path, "\1");
	inode->links = 0;
	if (!f->references)
		world_vanish(f);
}

int file_link(struct inode *dir, const char *name, size_t len, struct inode *file, unsigned mode)
{
	char path[600];
	struct inode *there;
	int error = writable() ? writable() : name_ok(name, len);

	if (error)
		return error;
	path_of(dir, name, len, path);
	there = world_find(path);
	if (there && !(mode & NAME_REPLACE))
		return -EEXIST;
	if (there && there->type == INODE_DIRECTORY)
		return -EISDIR;
	if (there)
		unname(there);
	strcpy(world_file_of(file)->path, path);
	file->links = 1;
	changed_name(dir);
	return 0;
}

int file_link_if(struct inode *dir, const char *name, size_t len, struct inode *file,
		 uint64_t expected, uint32_t generation)
{
	char path[600];
	struct inode *there;

	path_of(dir, name, len, path);
	there = world_find(path);
	if (there ? there->number != expected || there->generation != generation : expected != 0)
		return -ESTALE;
	return file_link(dir, name, len, file, NAME_REPLACE);
}

static int make(struct inode *dir, const char *name, size_t len, enum inode_type type,
		struct inode **out)
{
	char path[600];
	int error = writable() ? writable() : name_ok(name, len);

	if (error)
		return error;
	path_of(dir, name, len, path);
	if (world_find(path))
		return -EEXIST;
	*out = world_add(path, ++next_number, 0, type);
	inode_get(*out);
	changed_name(dir);
	return 0;
}

int dir_create(struct inode *dir, const char *name, size_t len, uint16_t mode, struct inode **out)
{
	return make(dir, name, len, INODE_DIRECTORY, out);
}

int symlink_create(struct inode *dir, const char *name, size_t len, const char *target,
		   size_t target_len, struct inode **out)
{
	int error = make(dir, name, len, INODE_SYMLINK, out);

	if (error == 0)
		memcpy(world_file_of(*out)->target, target, target_len);
	return error;
}

int inode_read_link(struct inode *link, char *target, size_t size)
{
	size_t len = strlen(world_file_of(link)->target);

	memcpy(target, world_file_of(link)->target, len);
	return (int)len;
}

static bool has_members(const char *path)
{
	size_t len = strlen(path);

	for (unsigned i = 0; i < world_file_count; i++)
		if (world_files[i].inode.links && strncmp(world_files[i].path, path, len) == 0 &&
		    world_files[i].path[len] == '/')
			return true;
	return false;
}

int name_remove_if(struct inode *dir, const char *name, size_t len, const struct inode *expected)
{
	char path[600];
	struct inode *there;

	if (writable())
		return writable();
	path_of(dir, name, len, path);
	there = world_find(path);
	if (!there)
		return -ENOENT;
	if (expected && there != expected)
		return -ESTALE;
	if (has_members(path))
		return -ENOTEMPTY;
	if (world.remove_error && strcmp(world.remove_error_path, path) == 0)
		return world.remove_error;
	unname(there);
	changed_name(dir);
	return 0;
}

int name_remove(struct inode *dir, const char *name, size_t len)
{
	return name_remove_if(dir, name, len, NULL);
}

// What may stand at the new name.
static int replaceable(struct inode *what, struct inode *there, unsigned mode)
{
	if (!there)
		return 0;
	if (!(mode & NAME_REPLACE))
		return -EEXIST;
	if (there->type == INODE_DIRECTORY && what->type != INODE_DIRECTORY)
		return -EISDIR;
	if (there->type != INODE_DIRECTORY && what->type == INODE_DIRECTORY)
		return -ENOTDIR;
	return has_members(world_file_of(there)->path) ? -ENOTEMPTY : 0;
}

int name_rename_if(struct inode *from_dir, const char *from, size_t from_len, struct inode *to_dir,
		   const char *to, size_t to_len, unsigned mode, const struct inode *expected)
{
	char path[600], new[600];
	struct inode *what, *there;
	int error = writable() ? writable() : name_ok(to, to_len);

	if (error)
		return error;
	path_of(from_dir, from, from_len, path);
	path_of(to_dir, to, to_len, new);
	what = world_find(path);
	there = world_find(new);
	if (!what)
		return -ENOENT;
	if (expected && what != expected)
		return -ESTALE;
	error = replaceable(what, there, mode);
	if (error)
		return error;
	if (there)
		unname(there);
	for (unsigned i = 0; i < world_file_count; i++) {
		struct world_file *f = &world_files[i];
		size_t n = strlen(path);
		if (strncmp(f->path, path, n) == 0 && (!f->path[n] || f->path[n] == '/')) {
			char moved[600];
			strcpy(moved, new);
			strcat(moved, f->path + n);
			strcpy(f->path, moved);
		}
	}
	changed_name(to_dir);
	return 0;
}

int inode_set_attributes(struct inode *inode, unsigned which, uint16_t mode, int64_t sec,
			 uint32_t nsec)
{
	world_changed(inode);
	if (which & INODE_SET_MTIME) {
		inode->mtime_sec = sec;
		inode->mtime_nsec = nsec;
	}
	world_changes++;
	return 0;
}

// ---- extended attributes, the volume ------------------------------------------------------------------

static int slot_of(struct world_file *f, const char *name)
{
	for (int i = 0; i < WORLD_VALUES; i++)
		if (strcmp(f->names[i], name) == 0)
			return i;
	return -1;
}

char *world_value(struct inode *inode, const char *name)
{
	struct world_file *f = world_file_of(inode);
	int i = slot_of(f, name);

	if (i < 0)
		i = slot_of(f, "");
	strcpy(f->names[i], name);
	return f->values[i];
}

void world_link(const char *path, uint64_t number, const char *target)
{
	strcpy(world_file_of(world_add(path, number, 0, INODE_SYMLINK))->target, target);
}

int xattr_get(struct inode *inode, const char *name, void *value, size_t size)
{
	struct world_file *f = world_file_of(inode);
	int i = slot_of(f, name);

	if (i < 0)
		return -ENODATA;
	if (size)
		memcpy(value, f->values[i], strlen(f->values[i]));
	return (int)strlen(f->values[i]);
}

int xattr_list(struct inode *inode, char *names, size_t size)
{
	struct world_file *f = world_file_of(inode);
	int len = 0;

	for (int i = 0; i < WORLD_VALUES; i++) {
		int n = (int)strlen(f->names[i]) + 1;
		if (n == 1)
			continue;
		if (size)
			memcpy(names + len, f->names[i], (size_t)n);
		len += n;
	}
	return len;
}

int xattr_set(struct inode *inode, const char *name, const void *value, size_t size)
{
	struct world_file *f = world_file_of(inode);
	int i = slot_of(f, name);

	if (i < 0)
		i = slot_of(f, "");
	strcpy(f->names[i], value ? name : "");
	if (value)
		memcpy(f->values[i], value, size);
	f->values[i][size] = 0;
	return 0;
}

bool volume_writable(const struct volume *v)
{
	return !world.read_only;
}

void volume_space(const struct volume *v, struct volume_space *out)
{
	*out = (struct volume_space){.blocks = 2000000,
				     .blocks_free = world.blocks_free,
				     .blocks_reserved = world.blocks_reserved};
}
