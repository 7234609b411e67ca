// SPDX-License-Identifier: BSD-2-Clause
// epoll and eventfd. An epoll stream has an item for each descriptor it was told of; an item whose stream says "look
// again" goes onto the ready list, so that epoll_wait looks at those alone. An item holds no reference: it goes
// with the last descriptor of its stream, as on Linux.
//
// Lock key: (L) epoll_lock, taken under the head's own lock when a stream notifies; (M) epoll.mutex: who waits, who
// changes items; nesting: held while an epoll is put into another one, so that how they hang together holds still.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/uspace.h"
#include "kernel/pool.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

enum { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL, EPOLL_CTL_MOD };
#define EPOLLET	     BIT(31)
#define EPOLLONESHOT BIT(30)
#define EPOLL_EVENTS 0x1fff2fffU // what may be asked for
#define O_CLOEXEC    02000000
#define EVENTS_MAX   4096 // taken by one epoll_wait
#define NESTING_MAX  4	  // epolls in epolls, as Linux has it

struct epoll_event {
	uint32_t events;
	uint64_t data;
} __attribute__((packed));
_Static_assert(sizeof(struct epoll_event) == 12, "struct epoll_event of x86-64");

struct epoll;
struct item {
	struct stream_watch watch;
	struct epoll *epoll;
	struct epoll_event want;      // (M)
	struct item *next, **link;    // (L) ready list; link null: not on it
	struct item *all, **all_link; // (L) every item of the epoll
	int fd;			      // constant
	bool off;		      // (M) one shot, and it was fired
};
struct epoll {
	struct stream stream;
	struct mutex mutex;
	struct item *ready, **ready_end; // (L)
	struct item *items;		 // (L)
	unsigned depth;			 // (nesting) levels of epolls in it, at some time
};

static struct pool epoll_pool = POOL_INIT("epoll", struct epoll, 4096); // one each process
static struct pool item_pool =
    POOL_INIT("epoll item", struct item, 1 << 20); // descriptors of all processes
static struct spinlock epoll_lock = SPINLOCK_INIT("epoll", RANK_EPOLL);
static struct mutex nesting = MUTEX_INIT("epoll nesting");

static const struct stream_ops epoll_ops;

static struct epoll *epoll_of(struct stream *s)
{
	return CONTAINER_OF(s, struct epoll, stream);
}

// ---- the ready list; epoll_lock held ----

static void add_ready(struct item *i)
{
	struct epoll *e = i->epoll;

	if (i->link)
		return;
	i->next = NULL;
	i->link = e->ready_end;
	*e->ready_end = i;
	e->ready_end = &i->next;
}

static void remove_ready(struct item *i)
{
	if (!i->link)
		return;
	*i->link = i->next;
	if (i->next)
		i->next->link = i->link;
	else
		i->epoll->ready_end = i->link;
	i->link = NULL;
}

// The head's lock is held.
static void item_told(struct stream_watch *w)
{
	struct item *i = CONTAINER_OF(w, struct item, watch);

	spin_lock_wtd(&epoll_lock);
	add_ready(i);
	spin_unlock_wtd(&epoll_lock);
	stream_notify_locked(&i->epoll->stream);
}

static void item_free(struct item *i)
{
	spin_lock_wtd(&epoll_lock);
	remove_ready(i);
	*i->all_link = i->all;
	if (i->all)
		i->all->all_link = i->all_link;
	spin_unlock_wtd(&epoll_lock);
	pool_free(&item_pool, i);
}

// Its stream was closed. The head's lock is held.
static void item_gone(struct stream_watch *w)
{
	item_free(CONTAINER_OF(w, struct item, watch));
}

// ---- epoll_ctl ----

static struct item *find(struct epoll *e, int fd, const struct stream *s)
{
	struct item *i;

	spin_lock_wtd(&epoll_lock);
	for (i = e->items; i && (i->fd != fd || i->watch.stream != s); i = i->all)
		;
	spin_unlock_wtd(&epoll_lock);
	return i;
}

// News go up from stream to epoll to epoll, on one stack, and would go for ever if they came around: an epoll is deeper
// than those in it, at any moment, and none is deeper than NESTING_MAX. Depths only grow, so that this costs little.
// WTDs off.
static bool deepen(struct epoll *e, unsigned depth)
{
	if (depth > NESTING_MAX)
		return false;
	if (e->depth >= depth)
		return true;
	for (const struct stream_watch *w = e->stream.watches; w; w = w->next)
		if (w->notify == item_told &&
		    !deepen(CONTAINER_OF(w, struct item, watch)->epoll, depth + 1))
			return false;
	e->depth = depth;
	return true;
}

// If s became deeper with e, it is above e.
static bool may_nest(struct epoll *e, struct stream *s)
{
	bool may;

	if (s->ops != &epoll_ops)
		return true;
	wtd_disable();
	may = deepen(e, epoll_of(s)->depth + 1) && e->depth > epoll_of(s)->depth;
	wtd_enable();
	return may;
}

static int add(struct epoll *e, int fd, struct stream *s, const struct epoll_event *want)
{
	struct item *i = pool_alloc(&item_pool);

	if (!i)
		return -ENOMEM;
	i->watch.notify = item_told;
	i->watch.gone = item_gone;
	i->epoll = e;
	i->want = *want;
	i->fd = fd;
	spin_lock_wtd(&epoll_lock);
	i->all = e->items;
	i->all_link = &e->items;
	if (i->all)
		i->all->all_link = &i->all;
	e->items = i;
	add_ready(i); // it may be ready now
	spin_unlock_wtd(&epoll_lock);
	stream_watch_add(&i->watch, s);
	return 0;
}

static void look_again(struct item *i)
{
	spin_lock_wtd(&epoll_lock);
	add_ready(i);
	spin_unlock_wtd(&epoll_lock);
	stream_notify(&i->epoll->stream);
}

static int control(struct epoll *e, uint64_t op, int fd, struct stream *s,
		   const struct epoll_event *want)
{
	struct item *i = find(e, fd, s);
	int error = 0;

	switch (op) {
	case EPOLL_CTL_ADD:
		if (i)
			return -EEXIST;
		error = may_nest(e, s) ? add(e, fd, s, want) : -ELOOP;
		if (!error)
			stream_notify(&e->stream);
		return error;
	case EPOLL_CTL_MOD:
		if (!i)
			return -ENOENT;
		i->want = *want;
		i->off = false;
		look_again(i);
		return 0;
	case EPOLL_CTL_DEL:
		if (!i)
			return -ENOENT;
		stream_watch_remove(&i->watch);
		item_free(i);
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL(233, epoll_ctl)
{
	struct stream *s = files_find((int)a[0]), *target = files_find((int)a[2]);
	struct epoll_event want = {0};
	int64_t error = s && target ? 0 : -EBADF;

	if (!error && (s->ops != &epoll_ops || s == target))
		error = -EINVAL;
	if (!error && !target->ops->poll)
		error = -EPERM; // files are always ready: Linux refuses them, too
	if (!error && a[1] != EPOLL_CTL_DEL)
		error = user_get(&want, a[3]);
	if (!error) {
		if (target->ops == &epoll_ops)
			mutex_lock(&nesting);
		mutex_lock(&epoll_of(s)->mutex);
		error = control(epoll_of(s), a[1], (int)a[2], target, &want);
		mutex_unlock(&epoll_of(s)->mutex);
		if (target->ops == &epoll_ops)
			mutex_unlock(&nesting);
	}
	if (s)
		stream_put(s);
	if (target)
		stream_put(target);
	return error;
}

// ---- epoll_wait ----

// (M) What the first of the ready items has to tell, if anything. Level-triggered ones go to the end of the list. The
// stream cannot go meanwhile: WTDs are off, and streams are closed by threads.
static bool take(struct epoll *e, struct epoll_event *out, bool *last, const struct item *end)
{
	struct item *i;
	unsigned events;

	wtd_disable();
	i = e->ready;
	*last = i == end;
	remove_ready(i);
	events =
	    i->off ? 0 : stream_poll(i->watch.stream) & (i->want.events | STREAM_ERR | STREAM_HUP);
	if (events) {
		*out = (struct epoll_event){events, i->want.data};
		if (i->want.events & EPOLLONESHOT)
			i->off = true;
		else if (!(i->want.events & EPOLLET))
			add_ready(i);
	}
	wtd_enable();
	return events != 0;
}

// One round over what is ready.
static unsigned collect(struct epoll *e, struct epoll_event *out, unsigned most)
{
	const struct item *end = NULL;
	unsigned count = 0;
	bool last = false;

	mutex_lock(&e->mutex);
	if (e->ready)
		end = CONTAINER_OF(e->ready_end, struct item, next);
	while (count < most && e->ready && !last)
		count += take(e, &out[count], &last, end);
	mutex_unlock(&e->mutex);
	return count;
}

static int64_t wait(struct epoll *e, uintptr_t at, uint64_t most, uint64_t end)
{
	struct epoll_event *events;
	unsigned count;
	int64_t result = 0;

	most = MIN(most, EVENTS_MAX);
	events = user_kpages_alloc(most * sizeof(*events));
	if (!events)
		return -ENOMEM;
	while (!(count = collect(e, events, (unsigned)most)) && !result) {
		uint64_t now = end == UINT64_MAX ? 0 : clock_ns();

		result = now >= end ? -EAGAIN
				    : stream_wait(&e->stream, STREAM_IN,
						  end == UINT64_MAX ? end : end - now);
	}
	if (count)
		result = user_write(at, events, count * sizeof(*events)) ? -EFAULT : (int64_t)count;
	user_kpages_free(events, most * sizeof(*events));
	return result == -EAGAIN ? 0 : result == -ERESTART ? -EINTR : result;
}

static int64_t wait_fd(uint64_t fd, uintptr_t at, uint64_t most, int ms)
{
	struct stream *s = files_find((int)fd);
	int64_t result;

	if (!s)
		return -EBADF;
	if (s->ops != &epoll_ops || (int)most <= 0)
		result = -EINVAL;
	else
		result = wait(epoll_of(s), at, most,
			      ms < 0 ? UINT64_MAX : clock_ns() + (uint64_t)ms * NS_PER_MS);
	stream_put(s);
	return result;
}
SYSCALL(232, epoll_wait)
{
	return wait_fd(a[0], a[1], a[2], (int)a[3]);
}
SYSCALL(281, epoll_pwait)
{
	int error = syscall_take_mask(a[4], a[5]);

	return error ? error : wait_fd(a[0], a[1], a[2], (int)a[3]);
}

static unsigned epoll_poll(struct stream *s)
{
	return epoll_of(s)->ready ? STREAM_IN : 0;
}

static void epoll_close(struct stream *s)
{
	struct epoll *e = epoll_of(s);

	wtd_disable(); // an item's stream may be closed by another thread, and the item go with it
	while (e->items) {
		struct item *i = e->items;

		stream_watch_remove(&i->watch);
		item_free(i);
	}
	wtd_enable();
	pool_free(&epoll_pool, e);
}
static const struct stream_ops epoll_ops = {
    .kind = STREAM_EVENT, .poll = epoll_poll, .close = epoll_close};

static int64_t new_epoll(bool close_on_exec)
{
	struct epoll *e = pool_alloc(&epoll_pool);
	int fd;

	if (!e)
		return -ENFILE;
	stream_init(&e->stream, &epoll_ops, STREAM_RDWR);
	e->mutex = (struct mutex)MUTEX_INIT("epoll");
	e->ready_end = &e->ready;
	fd = files_take(&e->stream, 0, close_on_exec);
	if (fd < 0)
		stream_put(&e->stream);
	return fd;
}
SYSCALL(213, epoll_create)
{
	return (int)a[0] <= 0 ? -EINVAL : new_epoll(false);
}
SYSCALL(291, epoll_create1)
{
	return a[0] & ~(uint64_t)O_CLOEXEC ? -EINVAL : new_epoll(a[0] & O_CLOEXEC);
}

// ---- eventfd ----

struct event {
	struct stream stream;
	uint64_t count; // WTDs off
	bool semaphore;
};
static struct pool event_pool = POOL_INIT("eventfd", struct event, 16384);

static struct event *event_of(struct stream *s)
{
	return CONTAINER_OF(s, struct event, stream);
}

static int64_t event_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct event *e = event_of(s);
	uint64_t n;

	if (io->left < sizeof(n))
		return -EINVAL;
	wtd_disable();
	n = e->semaphore ? MIN(e->count, 1UL) : e->count;
	e->count -= n;
	wtd_enable();
	if (!n)
		return -EAGAIN;
	stream_notify(s);
	return stream_io_out(io, &n, sizeof(n)) ? -EFAULT : (int64_t)sizeof(n);
}

static int64_t event_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct event *e = event_of(s);
	struct stream_io before = *io;
	uint64_t n;
	bool fits;

	if (io->left < sizeof(n))
		return -EINVAL;
	if (stream_io_in(io, &n, sizeof(n)))
		return -EFAULT;
	if (n == UINT64_MAX)
		return -EINVAL;
	wtd_disable();
	fits = n < UINT64_MAX - e->count;
	if (fits)
		e->count += n;
	wtd_enable();
	if (!fits) {
		*io = before;
		return -EAGAIN;
	}
	stream_notify(s);
	io->left = 0;
	return sizeof(n);
}

static unsigned event_poll(struct stream *s)
{
	uint64_t count = event_of(s)->count;

	return (count ? STREAM_IN : 0) | (count < UINT64_MAX - 1 ? STREAM_OUT : 0);
}
static void event_close(struct stream *s)
{
	pool_free(&event_pool, event_of(s));
}
static const struct stream_ops event_ops = {.kind = STREAM_EVENT,
					    .read = event_read,
					    .write = event_write,
					    .poll = event_poll,
					    .close = event_close};

SYSCALL(290, eventfd2)
{
	struct event *e;
	int fd;

	if (a[1] & ~(uint64_t)(O_CLOEXEC | STREAM_NONBLOCK | 1))
		return -EINVAL;
	e = pool_alloc(&event_pool);
	if (!e)
		return -ENFILE;
	stream_init(&e->stream, &event_ops, STREAM_RDWR | ((unsigned)a[1] & STREAM_NONBLOCK));
	e->count = a[0] & 0xffffffff;
	e->semaphore = a[1] & 1;
	fd = files_take(&e->stream, 0, a[1] & O_CLOEXEC);
	if (fd < 0)
		stream_put(&e->stream);
	return fd;
}
