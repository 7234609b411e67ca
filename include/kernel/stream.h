// SPDX-License-Identifier: BSD-2-Clause
// The stream head: the one boundary between a program's buffers and the kernel's. A stream is what a
// descriptor of a program refers to: a file, a directory, a pipe, a socket, a device. Who makes streams (fs,
// net, kernel) gives operations that never wait; waiting, signals, time-outs, poll and epoll are the head's.
//
//	program --read/write/sendmsg/...--> syscall_*.c --> stream.c --> stream_ops
//	                                                     |  ^ stream_io_*: the bytes, copied once, counted
//	                                                     +--+ stream_notify: "look again"
//
// Every payload byte that crosses is copied by stream_io_in or stream_io_out (site="stream_head"), or not at all
// (sendfile, splice, MSG_ZEROCOPY, mmap of file pages).
#pragma once

#include "kernel/page.h"
#include "kernel/thread.h"

struct stream;
struct uspace_backing;

// A program's buffers, in order. Made by syscall_*.c, used up by the operations.
#define STREAM_PARTS_MAX 1024 // IOV_MAX
struct stream_part {
	uintptr_t base;
	uint64_t len;
};
struct stream_io {
	const struct stream_part *parts;
	uint32_t count, now; // parts, and the one that is being used
	uint64_t at;	     // bytes of it that are used
	uint64_t left;	     // bytes of all of them that are not: at most IO_MAX (kernel/syscall.h)
	bool kernel;	     // parts are kernel memory (the kernel's own use of a stream)
};
// Thread context of the program; may sleep. Move the next `bytes` (at most io->left) from or to the program.
// Counted as stream_head. 0 or -EFAULT (then io has not moved on).
int stream_io_in(struct stream_io *io, void *to, size_t bytes) MUST_CHECK;
int stream_io_out(struct stream_io *io, const void *from, size_t bytes) MUST_CHECK;
// The same from and into a page (of the file cache: through its window, cache=unmapped or not). The page is wired.
int stream_io_out_page(struct stream_io *io, struct page *page, size_t offset,
		       size_t bytes) MUST_CHECK;
int stream_io_in_page(struct stream_io *io, struct page *page, size_t offset,
		      size_t bytes) MUST_CHECK;
// The same from memory of the direct map that may be a page of the file cache, mapped or not, or begin in one (what
// lies in a packet): wired, too.
int stream_io_out_direct(struct stream_io *io, const void *from, size_t bytes) MUST_CHECK;

// For makers that move bytes otherwise than by the calls above (into the file cache): the next contiguous piece,
// at most `most` bytes, at *address (the program's, unless io->kernel); and that so many bytes are done.
size_t stream_io_piece(struct stream_io *io, size_t most, uintptr_t *address);
void stream_io_skip(struct stream_io *io, size_t bytes);
// The copy of such a piece for copy_cache_write (kernel/copy.h), which counts it: from a program, within one page of
// it, without sleeping. 0, or -EFAULT where the page is not there.
int stream_copy_in_now(void *to, const void *from, size_t bytes) MUST_CHECK;

// Bytes that a stream received, by reference where they came in, on their way through a pipe (splice): in a page, or in
// a buffer of the maker's.
struct stream_loan {
	struct page *page; // wired; null: in a buffer
	uint32_t offset, bytes;
	const struct stream_loan_kind *kind; // null: in a page
	void *owner;
	const char *data;
};
struct stream_loan_kind { // thread context
	void (*get)(void *owner);
	void (*put)(void *owner);
};

// What a stream can do now; poll(2)'s values.
enum stream_event {
	STREAM_IN = 0x001,
	STREAM_PRI = 0x002,
	STREAM_OUT = 0x004,
	STREAM_ERR = 0x008,
	STREAM_HUP = 0x010,
	STREAM_RDHUP = 0x2000,
	// Something for MSG_ERRQUEUE: an error to poll, and nothing to who waits for bytes.
	STREAM_NOTICE = 0x10000,
};

enum stream_kind {
	STREAM_FILE,
	STREAM_DIRECTORY,
	STREAM_PIPE,
	STREAM_SOCKET,
	STREAM_DEVICE,
	STREAM_TERMINAL,
	STREAM_EVENT
};

struct stream_stat { // struct stat's fields, in kernel terms
	uint64_t device, number, links, size, blocks;
	uint32_t mode; // with the file type
	uint64_t rdevice;
	int64_t mtime_sec, ctime_sec, atime_sec;
	uint32_t mtime_nsec, ctime_nsec, atime_nsec;
	uint32_t block_bytes;
};

enum stream_attribute { STREAM_SET_MODE = BIT(0), STREAM_SET_MTIME = BIT(1) };
struct stream_attributes { // what is to be changed of a file
	unsigned which;	   // enum stream_attribute
	uint32_t mode;
	int64_t mtime_sec;
	uint32_t mtime_nsec;
};

// All in thread context of a program's thread (close: any thread); may sleep on a disk or a lock, never on
// the peer: -EAGAIN says that nothing can be done now and stream_notify will tell when to look again.
// Null members: not supported by this kind (the head answers with the right errno).
struct stream_ops {
	enum stream_kind kind;
	// Bytes moved (0: end of file), -EAGAIN, or an error. offset: files only; the head keeps it.
	int64_t (*read)(struct stream *s, struct stream_io *io, uint64_t offset);
	int64_t (*write)(struct stream *s, struct stream_io *io, uint64_t offset);
	unsigned (*poll)(
	    struct stream *s);		 // enum stream_event: as of now; WTDs off, does not sleep
	void (*close)(struct stream *s); // the last reference went: frees the stream
	int (*stat)(struct stream *s, struct stream_stat *out);
	int (*ioctl)(struct stream *s, unsigned request, uintptr_t argument); // program's address
	int64_t (*size)(struct stream *s); // files: for SEEK_END, O_APPEND
	// Of the file: held from the look at its size to the end of what is appended there. Null: nobody else appends.
	struct mutex *(*append_lock)(struct stream *s);
	int (*truncate)(struct stream *s, uint64_t size);
	// fallocate: keeps the size, or grows to the end of those bytes.
	int (*allocate)(struct stream *s, uint64_t offset, uint64_t bytes, bool keep_size);
	// Zeros for those bytes, as far as the file has them; their blocks go, or stay.
	int (*punch)(struct stream *s, uint64_t offset, uint64_t bytes, bool keep_blocks);
	// The next byte of data from that one on, or of a hole: -ENXIO. Null: it has no holes.
	int64_t (*seek)(struct stream *s, uint64_t from, bool for_hole);
	int (*sync)(struct stream *s); // durable when it returns
	int (*set)(struct stream *s, const struct stream_attributes *set);
	int (*space)(struct stream *s, uint64_t out[7]); // as name_provider's
	// Directories: fills with entries from *cursor on: visit returns false when its buffer is full.
	int (*read_dir)(struct stream *s, uint64_t *cursor,
			bool (*visit)(void *ctx, const char *name, size_t len, uint64_t number,
				      unsigned type, uint64_t next),
			void *ctx);
	// mmap: what program pages come from, with a reference; null: cannot be mapped.
	struct uspace_backing *(*backing)(struct stream *s);
	// A program is made of it: *out, the file opened anew for that. Until that is closed nobody opens the file for
	// writing. -ETXTBSY: somebody has. Null: whoever likes writes.
	int (*run)(struct stream *s, struct stream **out);
	// sendfile and splice. Source: the page with byte `offset`, wired, and how many bytes of it from there
	// on count (0: end). Sink: takes bytes of a page by reference: how many (its own wire reference), -EAGAIN.
	int64_t (*lend_page)(struct stream *s, uint64_t offset, struct page **page);
	int64_t (*take_page)(struct stream *s, struct page *page, uint32_t offset, uint32_t bytes,
			     bool more);
	// The next bytes that were received, at most so many, by reference; theirs no more. As read. And such a loan to
	// be sent: how many of its bytes (a reference of its own), -EAGAIN; -EOPNOTSUPP: another maker's.
	int64_t (*lend)(struct stream *s, uint32_t most, struct stream_loan *out);
	int64_t (*take_loan)(struct stream *s, const struct stream_loan *loan, bool more);
	// Sockets: the rest of them (kernel/socket.h).
	const struct socket_ops *socket;
};

enum stream_flag { // O_* of Linux, x86-64
	STREAM_RDONLY = 00,
	STREAM_WRONLY = 01,
	STREAM_RDWR = 02,
	STREAM_ACCMODE = 03,
	STREAM_APPEND = 02000,
	STREAM_NONBLOCK = 04000,
	STREAM_LOCKED = BIT(31), // the open file has, or had, locks of its own (kernel/file_lock.c)
	STREAM_DSYNC = 010000,	 // a write is durable when it returns
};

struct stream_watch { // poll, select, epoll: who wants to be told; lives on a stream's list
	struct stream_watch *next, *prev;
	struct stream *stream;
	void (*notify)(struct stream_watch *watch); // the head's lock is held; must not sleep
	// The stream is being closed and the watch is off its list. Null: who watches holds a reference. As notify.
	void (*gone)(struct stream_watch *watch);
};

// The head's part, at the start of whatever the maker allocates. Lock key. H: WTDs off.
struct stream {
	const struct stream_ops *ops; // constant
	uint32_t references;	      // (H)
	uint32_t flags;		      // (H) enum stream_flag
	uint32_t
	    flying; // (H) of the references: in messages of local sockets (kernel/local_rights.c)
	uint64_t position; // (position_lock)
	struct mutex position_lock;
	struct waitq waiters;	      // (H) threads blocked in read, write, accept, connect ...
	struct stream_watch *watches; // (H)
	char *path;		      // constant: of a directory, kpages; else null
	size_t path_len;
};
void stream_init(struct stream *s, const struct stream_ops *ops, unsigned flags); // one reference
void stream_get(struct stream *s); // one reference more, by who has one; any context
void stream_put(struct stream *s); // thread context; may close
// kernel/local_rights.c: only references under way are left of some stream; perhaps nobody can ever take them.
void stream_only_flies(void);
// Any context but interrupt: what poll says may have changed. Wakes who waits.
void stream_notify(struct stream *s);
void stream_notify_locked(struct stream *s); // from inside a watch's notify

// For makers with calls of their own that wait (accept, connect, recvmsg, wait for room): sleeps until poll has one
// of the events (STREAM_ERR and STREAM_HUP always count), the time is over (-EAGAIN; UINT64_MAX: never), or a
// signal is there (-EINTR).
int stream_wait(struct stream *s, unsigned events, uint64_t ns) MUST_CHECK;

void stream_watch_add(struct stream_watch *w, struct stream *s); // w->notify set
void stream_watch_remove(struct stream_watch *w); // added before; notify is not called afterwards
unsigned stream_poll(struct stream *s);		  // as ops->poll; what has none is always ready

// The head's calls for syscall_*.c: with waiting, position and O_APPEND. Bytes or an error.
int64_t stream_read(struct stream *s, struct stream_io *io);
int64_t stream_write(struct stream *s, struct stream_io *io);
int64_t stream_read_at(struct stream *s, struct stream_io *io, uint64_t offset);
int64_t stream_write_at(struct stream *s, struct stream_io *io, uint64_t offset);
// What a call comes to that moved `done` bytes before `last` came: the bytes. A socket's error is then told by the
// next one.
int64_t stream_result(struct stream *s, int64_t done, int64_t last);
// A file's position, for calls that wait with nobody kept from it meanwhile (sendfile, splice, copy_file_range): looked
// at when they begin and set when they end, as on Linux.
uint64_t stream_position(struct stream *s);
void stream_set_position(struct stream *s, uint64_t position);
int64_t stream_send_file(struct stream *to, struct stream *from, uint64_t *offset, uint64_t bytes);

// ---- names: who has files ----------------------------------------------------------------------------
// Absolute paths, normalised ("/a/b", no "." and ".."), without their prefix. Providers are tried by longest
// prefix: "/dev", "/proc" are the kernel's, "/" is the volumes'.

enum { // open's flags beyond enum stream_flag: Linux's values
	OPEN_CREATE = 0100,
	OPEN_EXCLUSIVE = 0200,
	OPEN_TRUNCATE = 01000,
	OPEN_DIRECTORY = 0200000,
	OPEN_NOFOLLOW = 0400000,
	OPEN_NAMELESS = 020000000, // O_TMPFILE without its O_DIRECTORY
};

struct name_provider {
	const char *prefix; // "/" or "/dev"
	// May sleep; 0 or an error. Paths need not be terminated.
	int (*open)(const char *path, size_t len, unsigned flags, uint32_t mode,
		    struct stream **out);
	int (*stat)(const char *path, size_t len, bool follow, struct stream_stat *out);
	int64_t (*read_link)(const char *path, size_t len, char *target, size_t size);
	int (*make_dir)(const char *path, size_t len, uint32_t mode);
	int (*remove)(const char *path, size_t len, bool directory);
	int (*rename)(const char *from, size_t from_len, const char *to, size_t to_len,
		      bool no_replace);
	int (*link)(const char *from, size_t from_len, bool follow, const char *to, size_t to_len);
	int (*symlink)(const char *target, size_t target_len, const char *path, size_t len);
	int (*set)(const char *path, size_t len, bool follow, const struct stream_attributes *set);
	int (*space)(const char *path, size_t len,
		     uint64_t out[7]); // statfs: type, bsize, blocks, bfree, bavail, files, ffree
	// What is mounted, in turn, for /proc/mounts; and page frames of cache that can be had back, for /proc/meminfo.
	void (*mounts)(void (*line)(void *ctx, const char *device, const char *where,
				    const char *type, bool read_only),
		       void *ctx);
	uint64_t (*cached)(void);
	int (*sync_all)(void);	    // everything changed so far is durable when it returns
	struct name_provider *next; // path.c's
};
void name_provider_register(struct name_provider *provider); // boot

// Who makes sockets (net/): for socket(2). -EAFNOSUPPORT, -EPROTONOSUPPORT ...
typedef int (*socket_maker)(int family, int type, int protocol, struct stream **out);
// What any socket is asked about network interfaces (ioctl, netdevice(7)), whoever made it: -ENOTTY: none of that.
typedef int (*socket_asked)(unsigned request, uintptr_t argument);
void socket_maker_register(socket_maker make, socket_asked asked); // boot
