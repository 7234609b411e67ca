// SPDX-License-Identifier: BSD-2-Clause
// /dev/shm, where shm_open and sem_open keep what they make, and memfd_create's files without a name: files whose bytes
// are programs' memory (uspace_shared.c), counted as such, shared by whoever maps them, and gone when no name,
// descriptor or mapping is left. One directory, no others in it.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/vmm.h"
#include "kernel/pool.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/uspace.h"
#include "kernel/usercopy.h"

#define NAME_MOST 255
#define SIZE_MOST (1UL << 46)
#define O_CLOEXEC 02000000

struct object {			       // lock key L: the lock below
	struct uspace_backing *memory; // constant, a reference
	struct mutex copying;	       // bytes move, or the size changes
	struct mutex appending;	       // outside of it
	uint64_t size;		       // (L)
	uint64_t number;	       // constant
	uint64_t changed_ns;	       // (L) real time
	uint32_t references;	       // (L) names and open files
	uint32_t names;		       // (L)
	uint32_t mode;		       // (L)
};
struct entry {
	struct entry *next;	  // (L)
	struct object *object;	  // constant, a reference
	uint64_t cookie;	  // constant: for who lists the directory in pieces
	uint32_t len;		  // constant
	char text[NAME_MOST + 1]; // constant
};
struct open_object {
	struct stream stream;
	struct object *object; // constant, a reference; null: the directory
};

static struct mutex lock = MUTEX_INIT("shm");
static struct entry *first;			  // (L) in the order of cookies
static uint64_t next_cookie = 1, next_number = 2; // (L)
// As many as a few busy programs would make, each with one name and a handful of descriptors.
static struct pool object_pool = POOL_INIT("shm object", struct object, 4096);
static struct pool entry_pool = POOL_INIT("shm name", struct entry, 4096);
static struct pool open_pool = POOL_INIT("shm file", struct open_object, 16384);

static struct object *object_of(struct stream *s)
{
	return CONTAINER_OF(s, struct open_object, stream)->object;
}

static void object_put(struct object *o)
{
	bool last;

	mutex_lock(&lock);
	last = --o->references == 0;
	mutex_unlock(&lock);
	if (!last)
		return;
	backing_put(o->memory);
	pool_free(&object_pool, o);
}

static struct object *object_new(uint32_t mode)
{
	struct object *o = pool_alloc(&object_pool);

	if (!o)
		return NULL;
	*o = (struct object){.memory = uspace_shared_new(0),
			     .copying = MUTEX_INIT("shm file"),
			     .appending = MUTEX_INIT("shm append"),
			     .changed_ns = clock_realtime_ns(),
			     .references = 1,
			     .mode = mode & 07777};
	if (!o->memory) {
		pool_free(&object_pool, o);
		return NULL;
	}
	mutex_lock(&lock);
	o->number = next_number++;
	mutex_unlock(&lock);
	return o;
}

static void fill_stat(const struct object *o, struct stream_stat *out)
{
	enum { S_IFREG = 0100000 };
	int64_t seconds = (int64_t)(o->changed_ns / NS_PER_SEC);
	uint32_t rest = (uint32_t)(o->changed_ns % NS_PER_SEC);

	*out = (struct stream_stat){.device = 6,
				    .number = o->number,
				    .links = o->names,
				    .size = o->size,
				    .blocks = (o->size + 511) / 512,
				    .mode = S_IFREG | o->mode,
				    .mtime_sec = seconds,
				    .ctime_sec = seconds,
				    .atime_sec = seconds,
				    .mtime_nsec = rest,
				    .ctime_nsec = rest,
				    .atime_nsec = rest,
				    .block_bytes = PAGE_SIZE};
}

// ---- an open one ----

static int resize(struct object *o, uint64_t size)
{
	int error;

	if (size > SIZE_MOST)
		return -EFBIG;
	error = uspace_shared_resize(o->memory, size);
	if (error)
		return error;
	mutex_lock(&lock);
	o->size = size;
	o->changed_ns = clock_realtime_ns();
	mutex_unlock(&lock);
	return 0;
}

static int64_t move_bytes(struct object *o, struct stream_io *io, uint64_t offset, uint64_t bytes,
			  bool out)
{
	uint64_t done = 0;
	int error = 0;

	while (done < bytes && !error) {
		uint64_t at = offset + done, in_page = at & (PAGE_SIZE - 1);
		size_t n = (size_t)MIN(bytes - done, PAGE_SIZE - in_page);
		struct page *page;

		error = o->memory->ops->page(o->memory, at >> PAGE_SHIFT, &page);
		if (error)
			break;
		error = out ? stream_io_out(io, (char *)page_virt(page) + in_page, n)
			    : stream_io_in(io, (char *)page_virt(page) + in_page, n);
		page_wire_put(page);
		if (!error)
			done += n;
	}
	return done ? (int64_t)done : error;
}

static int64_t shm_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct object *o = object_of(s);
	int64_t result = 0;

	mutex_lock(&o->copying);
	if (offset < o->size)
		result = move_bytes(o, io, offset, MIN(io->left, o->size - offset), true);
	mutex_unlock(&o->copying);
	return result;
}

static int64_t shm_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct object *o = object_of(s);
	uint64_t bytes = io->left;
	int64_t result = 0;

	if (offset > SIZE_MOST || bytes > SIZE_MOST - offset)
		return -EFBIG;
	mutex_lock(&o->copying);
	if (bytes && offset + bytes > o->size)
		result = resize(o, offset + bytes);
	if (!result)
		result = move_bytes(o, io, offset, bytes, false);
	mutex_unlock(&o->copying);
	return result;
}

static int shm_truncate(struct stream *s, uint64_t size)
{
	struct object *o = object_of(s);
	int error;

	mutex_lock(&o->copying);
	error = resize(o, size);
	mutex_unlock(&o->copying);
	return error;
}

static int64_t shm_size(struct stream *s)
{
	return (int64_t)object_of(s)->size;
}

static struct mutex *shm_append_lock(struct stream *s)
{
	return &object_of(s)->appending;
}

static int shm_sync(struct stream *s)
{
	return 0;
}

static void change(struct object *o, const struct stream_attributes *set)
{
	mutex_lock(&lock);
	if (set->which & STREAM_SET_MODE)
		o->mode = set->mode & 07777;
	if (set->which & STREAM_SET_MTIME)
		o->changed_ns = (uint64_t)set->mtime_sec * NS_PER_SEC + set->mtime_nsec;
	mutex_unlock(&lock);
}

static int shm_set(struct stream *s, const struct stream_attributes *set)
{
	change(object_of(s), set);
	return 0;
}

static int shm_file_stat(struct stream *s, struct stream_stat *out)
{
	mutex_lock(&lock);
	fill_stat(object_of(s), out);
	mutex_unlock(&lock);
	return 0;
}

static struct uspace_backing *shm_backing(struct stream *s)
{
	struct uspace_backing *memory = object_of(s)->memory;

	backing_get(memory);
	return memory;
}

static void shm_close(struct stream *s)
{
	struct open_object *h = CONTAINER_OF(s, struct open_object, stream);

	if (h->object)
		object_put(h->object);
	pool_free(&open_pool, h);
}

static const struct stream_ops file_ops = {.kind = STREAM_FILE,
					   .read = shm_read,
					   .write = shm_write,
					   .close = shm_close,
					   .stat = shm_file_stat,
					   .size = shm_size,
					   .append_lock = shm_append_lock,
					   .truncate = shm_truncate,
					   .sync = shm_sync,
					   .set = shm_set,
					   .backing = shm_backing};

// ---- the directory ----

// (L) The link that leads to the name, or to the end of the list.
static struct entry **find(const char *name, size_t len)
{
	struct entry **link = &first;

	while (*link && ((*link)->len != len || memcmp((*link)->text, name, len)))
		link = &(*link)->next;
	return link;
}

// "/name" without its slash; what is no name of a file here is an error.
static int parse(const char **path, size_t *len)
{
	if (!*len)
		return -EISDIR;
	++*path;
	--*len;
	if (memchr(*path, '/', *len))
		return -ENOENT;
	return *len > NAME_MOST ? -ENAMETOOLONG : 0;
}

// (L)
static int name_add(struct entry **end, const char *name, size_t len, struct object *o)
{
	struct entry *e = pool_alloc(&entry_pool);

	if (!e)
		return -ENOSPC;
	*e = (struct entry){.object = o, .cookie = next_cookie++, .len = (uint32_t)len};
	memcpy(e->text, name, len);
	o->references++;
	o->names++;
	*end = e;
	return 0;
}

static int read_dir(struct stream *s, uint64_t *cursor,
		    bool (*visit)(void *ctx, const char *name, size_t len, uint64_t number,
				  unsigned type, uint64_t next),
		    void *ctx)
{
	enum { DT_REG = 8 };

	mutex_lock(&lock);
	for (const struct entry *e = first; e; e = e->next) {
		if (e->cookie < *cursor)
			continue;
		if (!visit(ctx, e->text, e->len, e->object->number, DT_REG, e->cookie + 1))
			break;
		*cursor = e->cookie + 1;
	}
	mutex_unlock(&lock);
	return 0;
}
static const struct stream_ops dir_ops = {
    .kind = STREAM_DIRECTORY, .read_dir = read_dir, .close = shm_close};

static struct stream *open_new(const struct stream_ops *ops, struct object *o, unsigned flags)
{
	struct open_object *h = pool_alloc(&open_pool);

	if (!h)
		return NULL;
	h->object = o;
	stream_init(&h->stream, ops, flags & (STREAM_ACCMODE | STREAM_NONBLOCK | STREAM_APPEND));
	return &h->stream;
}

// With a reference: the object of the name, made if that was asked for.
static int get_object(const char *name, size_t len, unsigned flags, uint32_t mode,
		      struct object **out)
{
	struct object *fresh = flags & OPEN_CREATE ? object_new(mode) : NULL;
	struct entry **link;
	int error = 0;

	mutex_lock(&lock);
	link = find(name, len);
	if (*link && (flags & (OPEN_CREATE | OPEN_EXCLUSIVE)) == (OPEN_CREATE | OPEN_EXCLUSIVE))
		error = -EEXIST;
	else if (*link)
		(*out = (*link)->object)->references++;
	else if (!(flags & OPEN_CREATE))
		error = -ENOENT;
	else if (!fresh)
		error = -ENOSPC;
	else
		error = name_add(link, name, len, *out = fresh);
	mutex_unlock(&lock);
	if (fresh && (error || *out != fresh))
		object_put(fresh);
	return error;
}

static int shm_open(const char *path, size_t len, unsigned flags, uint32_t mode,
		    struct stream **out)
{
	struct object *o;
	int error;

	if (!len) {
		*out =
		    flags & (STREAM_ACCMODE | OPEN_CREATE) ? NULL : open_new(&dir_ops, NULL, flags);
		return *out ? 0 : flags & (STREAM_ACCMODE | OPEN_CREATE) ? -EISDIR : -ENFILE;
	}
	error = flags & OPEN_NAMELESS ? -EOPNOTSUPP : parse(&path, &len);
	if (!error)
		error = get_object(path, len, flags, mode, &o);
	if (error)
		return error;
	*out = open_new(&file_ops, o, flags);
	if (!*out) {
		object_put(o);
		return -ENFILE;
	}
	error = flags & OPEN_DIRECTORY ? -ENOTDIR
		: flags & OPEN_TRUNCATE && (flags & STREAM_ACCMODE) != STREAM_RDONLY
		    ? shm_truncate(*out, 0)
		    : 0;
	if (error)
		stream_put(*out);
	return error;
}

static int shm_stat(const char *path, size_t len, bool follow, struct stream_stat *out)
{
	struct entry *e;
	int error;

	if (!len) {
		*out = (struct stream_stat){
		    .device = 6, .number = 1, .links = 2, .mode = 041777, .block_bytes = PAGE_SIZE};
		return 0;
	}
	error = parse(&path, &len);
	if (error)
		return error;
	mutex_lock(&lock);
	e = *find(path, len);
	if (e)
		fill_stat(e->object, out);
	mutex_unlock(&lock);
	return e ? 0 : -ENOENT;
}

static int shm_remove(const char *path, size_t len, bool directory)
{
	struct entry **link, *e;
	int error = len ? parse(&path, &len) : -EBUSY;

	if (error)
		return error;
	mutex_lock(&lock);
	link = find(path, len);
	e = *link;
	if (e && !directory) {
		*link = e->next;
		e->object->names--;
	}
	mutex_unlock(&lock);
	if (!e || directory)
		return e ? -ENOTDIR : -ENOENT;
	object_put(e->object);
	pool_free(&entry_pool, e);
	return 0;
}

static int shm_link(const char *from, size_t from_len, bool follow, const char *to, size_t to_len)
{
	struct entry *e, **link;
	int error = parse(&from, &from_len);

	if (!error)
		error = to_len ? parse(&to, &to_len) : -EEXIST;
	if (error)
		return error;
	mutex_lock(&lock);
	e = *find(from, from_len);
	link = find(to, to_len);
	error = !e ? -ENOENT : *link ? -EEXIST : name_add(link, to, to_len, e->object);
	mutex_unlock(&lock);
	return error;
}

static int shm_set_name(const char *path, size_t len, bool follow,
			const struct stream_attributes *set)
{
	struct object *o;
	int error = len ? parse(&path, &len) : -EPERM;

	if (!error)
		error = get_object(path, len, 0, 0, &o);
	if (error)
		return error;
	change(o, set);
	object_put(o);
	return 0;
}

static struct name_provider provider = {.prefix = "/dev/shm",
					.open = shm_open,
					.stat = shm_stat,
					.remove = shm_remove,
					.link = shm_link,
					.set = shm_set_name};

SYSCALL(319, memfd_create)
{
	enum { MFD_CLOEXEC = 1, MFD_ALLOW_SEALING = 2, MFD_NOEXEC_SEAL = 8, MFD_EXEC = 16 };
	char name[NAME_MOST + 1];
	int64_t fd = user_read_text(name, a[0], sizeof(name));
	struct object *o;
	struct stream *s;

	if (fd < 0)
		return fd == -ENAMETOOLONG ? -EINVAL : fd;
	if (a[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC))
		return -EINVAL;
	o = object_new(0777);
	s = o ? open_new(&file_ops, o, STREAM_RDWR) : NULL;
	if (!s) {
		if (o)
			object_put(o);
		return -ENOMEM;
	}
	fd = files_take(s, 0, a[1] & MFD_CLOEXEC);
	if (fd < 0)
		stream_put(s);
	return fd;
}

void shm_init(void);
void shm_init(void)
{
	name_provider_register(&provider);
}
