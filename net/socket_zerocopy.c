// SPDX-License-Identifier: BSD-2-Clause
// MSG_ZEROCOPY (net/socket_tcp.h): a program's pages go to the card as they lie, and it is told when it may use them
// again.
//
//	sendmsg --uspace_lend--> page write-protected and wired --> TCP and the card
//	    --last pbuf_free--> page let go of; with a send's last page, a notice
//	recvmsg(MSG_ERRQUEUE) <-- notices, neighbours merged: "sends lo to hi are done"
//
// A program that writes to such a page before gets a copy of its own, so the wire sees what was sent.
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/uspace.h"
#include "kernel/vmm.h"
#include "net/socket_tcp.h"
#include "net/stack.h"

#define SENDS_MOST 1024 // of a socket, under way or not read: more is -ENOBUFS

// A call of send; then, when the last reference is gone, a notice.
struct zerocopy_send {
	struct zerocopy *of;
	struct zerocopy_send *next; // (W) notices
	uint32_t low, high;	    // (W) numbers of the sends that it stands for
	uint32_t references;	    // (W) of the pbufs, and of the call
};

// A socket's; it lives as long as something of the socket's is on the wire.
struct zerocopy {
	struct tcp_socket *socket;	    // (W) null: closed
	struct zerocopy_send *first, *last; // (W) notices to be read
	uint32_t next;			    // (W) the next send's number
	uint32_t sends;			    // (W) under way, and notices
	uint32_t references;		    // (W) the socket's, and each send's that is under way
};

struct lent {
	struct pbuf_custom custom; // first: the free function is given its pbuf
	struct page *page;	   // wired
	struct zerocopy_send *send;
};

static struct pool zerocopy_pool = POOL_INIT("zerocopy socket", struct zerocopy, 24576);
static struct pool send_pool = POOL_INIT("zerocopy send", struct zerocopy_send, 65536);
// Send buffers of 1,000 busy connections in whole pages.
static struct pool lent_pool = POOL_INIT_RAW("zerocopy page", struct lent, 1000 * 64);

// ---- done: WTDs off ----

static void zerocopy_put(struct zerocopy *z)
{
	if (--z->references == 0)
		pool_free(&zerocopy_pool, z);
}

static void send_put(struct zerocopy_send *send)
{
	struct zerocopy *z = send->of;

	if (--send->references)
		return;
	if (!z->socket) {
		pool_free(&send_pool, send);
	} else if (z->last && z->last->high + 1 == send->low) {
		z->last->high = send->high;
		z->sends--;
		pool_free(&send_pool, send);
	} else {
		send->next = NULL;
		*(z->first ? &z->last->next : &z->first) = send;
		z->last = send;
	}
	if (z->socket)
		stream_notify(stream_of(z->socket));
	zerocopy_put(z);
}

static void lent_free(struct pbuf *p)
{
	struct lent *lent = (struct lent *)(void *)p;
	struct zerocopy_send *send = lent->send;
	struct page *page = lent->page;

	pool_free(&lent_pool, lent);
	page_wire_put(page);
	send_put(send);
}

// ---- sending ----

// (S) WTDs off. Queues bytes of a page that is wired; its reference goes along. Bytes, or an error.
static int64_t queue(struct tcp_socket *t, struct zerocopy_send *send, struct page *page,
		     uint32_t offset, int64_t bytes, bool more)
{
	struct lent *lent;
	struct pbuf *p;
	int64_t n = tcp_socket_room(t); // the page was brought in meanwhile
	err_t err;

	if (n <= 0)
		return n;
	n = MIN(n, bytes);
	lent = pool_alloc(&lent_pool);
	if (!lent)
		return -EAGAIN;
	lent->custom.custom_free_function = lent_free;
	lent->page = page;
	lent->send = send;
	p = pbuf_alloced_custom(PBUF_RAW, (uint16_t)n, PBUF_ROM, &lent->custom,
				(char *)page_virt(page) + offset, (uint16_t)n);
	err = tcp_write_pbuf(t->pcb, p, more ? TCP_WRITE_FLAG_MORE : 0);
	if (err != ERR_OK) {
		pool_free(&lent_pool, lent);
		return err == ERR_MEM ? -EAGAIN : -EPIPE;
	}
	send->references++;
	return n;
}

// (S) One page's worth.
static int64_t lend(struct tcp_socket *t, struct zerocopy_send *send, struct stream_io *io,
		    bool more)
{
	uintptr_t address;
	size_t bytes = stream_io_piece(io, PAGE_SIZE, &address);
	uint32_t offset = address & (PAGE_SIZE - 1);
	struct page *page;
	int64_t n = tcp_socket_room_seen(t);
	int error;

	if (n <= 0)
		return n;
	n = MIN(n, (int64_t)MIN(bytes, PAGE_SIZE - offset));
	error = uspace_lend(process_space(), address, &page);
	if (error)
		return -EFAULT;
	wtd_disable();
	n = queue(t, send, page, offset, n, more || io->left > (uint64_t)n);
	wtd_enable();
	if (n > 0)
		stream_io_skip(io, (size_t)n);
	else
		page_wire_put(page);
	return n;
}

static struct zerocopy_send *begin(struct tcp_socket *t)
{
	struct zerocopy_send *send = NULL;

	wtd_disable();
	if (!t->zerocopy) {
		t->zerocopy = pool_alloc(&zerocopy_pool);
		if (t->zerocopy)
			*t->zerocopy = (struct zerocopy){.socket = t, .references = 1};
	}
	if (t->zerocopy && t->zerocopy->sends < SENDS_MOST)
		send = pool_alloc(&send_pool);
	if (send) {
		*send = (struct zerocopy_send){.of = t->zerocopy, .references = 1};
		t->zerocopy->references++;
		t->zerocopy->sends++;
	}
	wtd_enable();
	return send;
}

// The call is over. One that sent nothing has no number and is not told of.
static void finish(struct zerocopy_send *send, bool sent)
{
	struct zerocopy *z = send->of;

	wtd_disable();
	if (sent) {
		send_put(send);
	} else {
		z->sends--;
		zerocopy_put(z);
		pool_free(&send_pool, send);
	}
	wtd_enable();
}

// (S), which is not kept while waiting for room.
static int64_t lend_or_wait(struct tcp_socket *t, struct zerocopy_send *send,
			    struct socket_message *m)
{
	bool waits = !(stream_of(t)->flags & STREAM_NONBLOCK) && !(m->flags & MSG_DONTWAIT);
	int64_t n;

	while ((n = lend(t, send, &m->io, m->flags & MSG_MORE || t->cork)) == -EAGAIN && waits) {
		tcp_socket_push(t);
		mutex_unlock(&t->sender);
		n = stream_wait(stream_of(t), STREAM_OUT, t->common.send_ns);
		mutex_lock(&t->sender);
		if (n)
			break;
	}
	return n;
}

int64_t tcp_zerocopy_send(struct tcp_socket *t, struct socket_message *m)
{
	struct zerocopy_send *send = begin(t);
	int64_t done = 0, n = 0;

	if (!send)
		return -ENOBUFS;
	mutex_lock(&t->sender);
	while (m->io.left && (n = lend_or_wait(t, send, m)) > 0) {
		if (!done) {
			wtd_disable(); // nothing of it can be done before the call is
			send->low = send->high = t->zerocopy->next++;
			wtd_enable();
		}
		done += n;
	}
	if (n == -EAGAIN || (done && !(m->flags & MSG_MORE) && !t->cork))
		tcp_socket_push(t);
	mutex_unlock(&t->sender);
	finish(send, done);
	return done ? done : n;
}

// ---- telling ----

bool tcp_zerocopy_told(const struct tcp_socket *t)
{
	return t->zerocopy && t->zerocopy->first;
}

struct sock_extended_err { // Linux's
	uint32_t error;
	uint8_t origin, type, code, pad;
	uint32_t info, data;
};
_Static_assert(sizeof(struct sock_extended_err) == 16, "struct sock_extended_err");

int64_t tcp_zerocopy_receive(struct tcp_socket *t, struct socket_message *m)
{
	enum { SOL_IP = 0, SOL_IPV6 = 41, IP_RECVERR = 11, IPV6_RECVERR = 25, ORIGIN_ZEROCOPY = 5 };
	struct {
		struct sock_extended_err e;
		uint8_t offender[28]; // struct sockaddr: of nobody
	} notice = {.e.origin = ORIGIN_ZEROCOPY};
	struct zerocopy_send *send;
	bool v6 = t->common.v6;

	wtd_disable();
	send = t->zerocopy ? t->zerocopy->first : NULL;
	if (send) {
		t->zerocopy->first = send->next;
		if (!send->next)
			t->zerocopy->last = NULL;
		t->zerocopy->sends--;
		notice.e.info = send->low;
		notice.e.data = send->high;
		pool_free(&send_pool, send);
	}
	wtd_enable();
	if (!send)
		return -EAGAIN;
	m->out_flags |= MSG_ERRQUEUE;
	control_put(m, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &notice,
		    (uint32_t)sizeof(notice.e) + (v6 ? 28 : 16));
	return 0;
}

void tcp_zerocopy_close(struct tcp_socket *t)
{
	struct zerocopy *z = t->zerocopy;
	struct zerocopy_send *send;

	if (!z)
		return;
	t->zerocopy = NULL;
	z->socket = NULL;
	while ((send = z->first)) {
		z->first = send->next;
		pool_free(&send_pool, send);
	}
	zerocopy_put(z);
}
