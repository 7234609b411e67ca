// SPDX-License-Identifier: BSD-2-Clause
// Volumes as programs see them: "/" is the root volume, "/volumes/NAME" each of them. Files as streams, whose
// bytes go from the page cache to the program in one copy at the stream head, or by reference (sendfile, mmap).
#include "fs/file.h"
#include "fs/inode.h"
#include "fs/name.h"
#include "fs/pagecache.h"
#include "fs/programs.h"
#include "fs/userfile.h"
#include "fs/volume.h"
#include "kernel/block.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/socket.h"
#include "kernel/stream.h"

#define VOLUMES_PREFIX "/volumes"
#define MODE_SOCKET    0140000 // S_IFSOCK

// Descriptors of all programs; more is -ENFILE.
static struct pool file_pool = POOL_INIT("program file", struct userfile, 65536);

// ---- reading ----

static int64_t file_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct inode *inode = userfile_of(s)->inode;
	int64_t done = 0;
	int error = 0;

	while (io->left && offset < inode->size && !error) {
		uint64_t at = offset & (PAGE_SIZE - 1);
		size_t piece = (size_t)MIN(MIN(io->left, PAGE_SIZE - at), inode->size - offset);
		struct page *page;

		error = pagecache_get_wait(inode, offset >> PAGE_SHIFT, &page);
		if (error)
			break;
		error = stream_io_out_page(io, page, at, piece);
		page_wire_put(page);
		if (!error) {
			done += (int64_t)piece;
			offset += piece;
		}
	}
	// -ERANGE: somebody has shortened it since we looked at its size.
	return done || error == -ERANGE ? done : error;
}

static int64_t file_lend_page(struct stream *s, uint64_t offset, struct page **page)
{
	struct inode *inode = userfile_of(s)->inode;
	int error;

	if (offset >= inode->size)
		return 0;
	error = pagecache_get_wait(inode, offset >> PAGE_SHIFT, page);
	if (error)
		return error == -ERANGE ? 0 : error;
	if (offset < inode->size)
		return (int64_t)MIN(PAGE_SIZE - (offset & (PAGE_SIZE - 1)), inode->size - offset);
	page_wire_put(*page); // shortened since
	return 0;
}

static int64_t file_size(struct stream *s)
{
	return (int64_t)userfile_of(s)->inode->size;
}

static int64_t file_seek_in(struct stream *s, uint64_t from, bool for_hole)
{
	return file_seek(userfile_of(s)->inode, from, for_hole);
}

static void fill_stat(struct inode *inode, struct stream_stat *out)
{
	static const uint32_t types[] = {[INODE_FILE] = 0100000,
					 [INODE_DIRECTORY] = 040000,
					 [INODE_SYMLINK] = 0120000,
					 [INODE_OTHER] = 020000};

	*out = (struct stream_stat){.device = inode->volume->id,
				    .number = inode->number,
				    .links = inode->links,
				    .size = inode->size,
				    .blocks = file_sectors(inode),
				    .mode = types[inode->type] | (inode->mode & 07777),
				    .mtime_sec = inode->mtime_sec,
				    .ctime_sec = inode->mtime_sec,
				    .atime_sec = inode->mtime_sec,
				    .mtime_nsec = inode->mtime_nsec,
				    .block_bytes = PAGE_SIZE};
	if (inode->type == INODE_FILE && local_socket_at(out->device, out->number))
		out->mode = MODE_SOCKET | (inode->mode & 07777);
}

static int file_stat(struct stream *s, struct stream_stat *out)
{
	fill_stat(userfile_of(s)->inode, out);
	return 0;
}

// As Linux's i_writecount: who writes and who runs the file keep each other out.
int userfile_claim(struct inode *inode, int32_t writes)
{
	bool may;

	wtd_disable();
	may = writes > 0 ? inode->writers >= 0 : inode->writers <= 0;
	if (may)
		inode->writers += writes;
	wtd_enable();
	return may ? 0 : -ETXTBSY;
}

void userfile_unclaim(struct inode *inode, int32_t writes)
{
	wtd_disable();
	inode->writers -= writes;
	wtd_enable();
}

// Of an inode that the caller has a reference to, and has claimed so: both go with the stream, if there is one.
static int open_inode(struct inode *inode, const struct stream_ops *ops, unsigned flags,
		      int32_t writes, struct stream **out)
{
	struct userfile *f = pool_alloc(&file_pool);

	if (!f)
		return -ENFILE;
	f->inode = inode;
	f->writes = writes;
	stream_init(&f->stream, ops, flags);
	*out = &f->stream;
	return 0;
}

// A stream of its own: whoever has `s` may keep it for longer than the program runs, and start others.
static int file_run(struct stream *s, struct stream **out)
{
	struct inode *inode = userfile_of(s)->inode;
	int error = userfile_claim(inode, -1);

	if (error)
		return error;
	error = open_inode(inode, s->ops, STREAM_RDONLY, -1, out);
	if (error)
		userfile_unclaim(inode, -1);
	else
		inode_get(inode);
	return error;
}

static void file_close(struct stream *s)
{
	struct userfile *f = userfile_of(s);

	if (f->writes)
		userfile_unclaim(f->inode, f->writes);
	inode_put(f->inode);
	pool_free(&file_pool, f);
}

// ---- directories ----

static unsigned dirent_type(enum inode_type type)
{
	return type == INODE_FILE	 ? 8
	       : type == INODE_DIRECTORY ? 4
	       : type == INODE_SYMLINK	 ? 10
					 : 0;
}

struct one_entry {
	char name[256];
	struct dir_entry entry;
	bool found;
};

static bool take_one(void *ctx, const struct dir_entry *entry)
{
	struct one_entry *one = ctx;

	one->entry = *entry;
	memcpy(one->name, entry->name, entry->name_len);
	one->found = true;
	return false;
}

// One entry at a time, for an entry that the program's buffer has no room for must come again.
static int dir_read(struct stream *s, uint64_t *cursor,
		    bool (*visit)(void *ctx, const char *name, size_t len, uint64_t number,
				  unsigned type, uint64_t next),
		    void *ctx)
{
	struct one_entry one;
	uint64_t next;
	int error;

	do {
		one.found = false;
		next = *cursor;
		error = inode_read_dir(userfile_of(s)->inode, &next, take_one, &one);
		if (error || !one.found ||
		    !visit(ctx, one.name, one.entry.name_len, one.entry.number,
			   dirent_type(one.entry.type), next))
			return error;
		*cursor = next;
	} while (true);
}

static const struct stream_ops file_ops = {.kind = STREAM_FILE,
					   .read = file_read,
					   .stat = file_stat,
					   .write = userfile_write,
					   .size = file_size,
					   .append_lock = userfile_append_lock,
					   .truncate = userfile_truncate,
					   .allocate = userfile_allocate,
					   .punch = userfile_punch,
					   .seek = file_seek_in,
					   .sync = userfile_sync,
					   .set = userfile_set_open,
					   .space = userfile_space_open,
					   .backing = userfile_backing,
					   .run = file_run,
					   .lend_page = file_lend_page,
					   .close = file_close};
static const struct stream_ops dir_ops = {.kind = STREAM_DIRECTORY,
					  .stat = file_stat,
					  .sync = userfile_sync,
					  .set = userfile_set_open,
					  .space = userfile_space_open,
					  .read_dir = dir_read,
					  .close = file_close};

// ---- names ----

// The volume that a path leads to; *path and *len lose what named it.
static struct volume *volume_of(const char **path, size_t *len)
{
	size_t prefix = sizeof(VOLUMES_PREFIX) - 1, end;
	char name[sizeof(((struct volume *)NULL)->name)];

	if (*len <= prefix || memcmp(*path, VOLUMES_PREFIX "/", prefix + 1))
		return volume_root();
	*path += prefix + 1;
	*len -= prefix + 1;
	for (end = 0; end < *len && (*path)[end] != '/'; end++)
		;
	if (end >= sizeof(name))
		return NULL;
	memcpy(name, *path, end);
	name[end] = 0;
	*path += end;
	*len -= end;
	return volume_find(name);
}

int userfile_find(const char *path, size_t len, bool follow, struct inode **out)
{
	struct volume *volume = volume_of(&path, &len);

	if (!volume)
		return -ENOENT;
	if (len && path[0] == '/') {
		path++;
		len--;
	}
	return follow ? name_find_wait(volume, path, len, out)
		      : name_find_entry_wait(volume, path, len, out);
}

// Whether the inode can be opened so.
static int check_open(const struct inode *inode, unsigned flags)
{
	bool writes = flags & STREAM_ACCMODE || flags & OPEN_TRUNCATE;

	if (inode->type == INODE_DIRECTORY)
		return writes || flags & OPEN_CREATE ? -EISDIR : 0;
	if (inode->type != INODE_FILE)
		return inode->type == INODE_SYMLINK ? -ELOOP : -ENXIO;
	return writes && !volume_writable(inode->volume) ? -EROFS : 0;
}

// A file that no name leads to, in the directory of that path.
static int make_nameless(const char *path, size_t len, uint32_t mode, struct inode **out)
{
	struct inode *dir;
	int error = userfile_find(path, len, true, &dir);

	if (error)
		return error;
	error = dir->type == INODE_DIRECTORY ? file_create(dir, (uint16_t)mode, out) : -ENOTDIR;
	inode_put(dir);
	return error;
}

static int find_or_create(const char *path, size_t len, unsigned flags, uint32_t mode,
			  struct inode **out)
{
	bool exclusive = (flags & (OPEN_CREATE | OPEN_EXCLUSIVE)) == (OPEN_CREATE | OPEN_EXCLUSIVE);
	int error;

	if (flags & OPEN_NAMELESS)
		return make_nameless(path, len, mode, out);
	error = userfile_find(path, len, !exclusive && !(flags & OPEN_NOFOLLOW), out);
	if (!error && exclusive) {
		inode_put(*out);
		return -EEXIST;
	}
	if (error != -ENOENT || !(flags & OPEN_CREATE))
		return error;
	error = userfile_create(path, len, mode, out);
	if (error == -EEXIST && !exclusive) // somebody was faster
		error = userfile_find(path, len, true, out);
	return error;
}

// Claims the file for who opens it, and cuts it short where that is asked for, which is writing, too.
static int claim_and_cut(struct inode *inode, unsigned flags, int32_t writes)
{
	bool claims = flags & (STREAM_ACCMODE | OPEN_TRUNCATE);
	int error = claims ? userfile_claim(inode, 1) : 0;

	if (error || !claims)
		return error;
	if (flags & OPEN_TRUNCATE && inode->size)
		error = file_truncate(inode, 0);
	if (error || !writes)
		userfile_unclaim(inode, 1);
	return error;
}

static int volumes_open(const char *path, size_t len, unsigned flags, uint32_t mode,
			struct stream **out)
{
	struct inode *inode;
	int32_t writes = flags & STREAM_ACCMODE ? 1 : 0;
	int error = find_or_create(path, len, flags, mode, &inode);

	if (error)
		return error;
	error = check_open(inode, flags);
	if (!error)
		error = claim_and_cut(inode, flags, writes);
	if (!error) {
		error = open_inode(
		    inode, inode->type == INODE_FILE ? &file_ops : &dir_ops,
		    flags & (STREAM_ACCMODE | STREAM_NONBLOCK | STREAM_APPEND | STREAM_DSYNC),
		    writes, out);
		if (error && writes)
			userfile_unclaim(inode, writes);
	}
	if (error)
		inode_put(inode);
	return error;
}

static int volumes_stat(const char *path, size_t len, bool follow, struct stream_stat *out)
{
	struct inode *inode;
	int error = userfile_find(path, len, follow, &inode);

	if (error)
		return error;
	fill_stat(inode, out);
	inode_put(inode);
	return 0;
}

static void volumes_mounts(void (*line)(void *ctx, const char *device, const char *where,
					const char *type, bool read_only),
			   void *ctx)
{
	char where[sizeof(VOLUMES_PREFIX) + sizeof(((struct volume *)NULL)->name) + 1];

	for (struct volume *v = volume_first(); v; v = v->next) {
		if (v == volume_root())
			line(ctx, v->dev->name, "/", "ext4", !volume_writable(v));
		ksnprintf(where, sizeof(where), VOLUMES_PREFIX "/%s", v->name);
		line(ctx, v->dev->name, where, "ext4", !volume_writable(v));
	}
}

static uint64_t volumes_cached(void)
{
	struct pagecache_stats s;

	pagecache_stats(&s);
	return s.pages;
}

static struct name_provider provider = {.prefix = "/",
					.open = volumes_open,
					.stat = volumes_stat,
					.read_link = userfile_read_link,
					.make_dir = userfile_make_dir,
					.remove = userfile_remove,
					.rename = userfile_rename,
					.link = userfile_link,
					.symlink = userfile_symlink,
					.set = userfile_set,
					.space = userfile_space,
					.mounts = volumes_mounts,
					.cached = volumes_cached,
					.sync_all = userfile_sync_all};

void userfile_init(void)
{
	name_provider_register(&provider);
}
