// SPDX-License-Identifier: BSD-2-Clause
// TCP sockets of programs: bytes in and out (net/socket_tcp.h). In: from the receive buffers they came in, copied once,
// to the program. Out: copied once into frames that TCP and the card then hold by reference; or pages of files as
// they lie (sendfile).
#include "kernel/lock.h"
#include "kernel/uspace.h"
#include "kernel/vmm.h"
#include "net/pagebuf.h"
#include "net/socket_tcp.h"
#include "net/stack.h"
#include "tcp_sndbuf.h"

// ---- receiving ----

// (R) `n` bytes of the head were read: the window opens by so much, empty receive buffers go back to the card.
static void consume(struct tcp_socket *t, uint32_t n)
{
	wtd_disable();
	t->in_offset += (uint16_t)n;
	t->in_bytes -= n;
	if (t->in_offset == t->in->len) {
		tcp_socket_drop_first(t);
		t->in_offset = 0;
	}
	if (t->pcb) {
		tcp_recved(t->pcb, (u16_t)n);
		stack_flush();
	}
	wtd_enable();
}

// Why there is nothing to read.
static int64_t nothing(struct tcp_socket *t)
{
	int error;

	if (t->state == FRESH || t->state == LISTENING)
		return -ENOTCONN;
	error = t->common.error; // the head says when it was told
	if (error)
		return -error;
	return t->fin_seen || t->deaf || !t->pcb ? 0 : -EAGAIN;
}

// (R) What lies there, and stays. Meanwhile more may come, behind it. Bytes, 0: nothing, or an error.
static int64_t look(struct tcp_socket *t, struct stream_io *io)
{
	uint32_t offset = t->in_offset;
	int64_t done = 0;

	for (const struct pbuf *p = t->in; p && io->left; p = p->next) {
		uint32_t n = (uint32_t)MIN(io->left, (uint64_t)(p->len - offset));
		int error = stream_io_out_direct(io, (const char *)p->payload + offset, n);

		if (error)
			return done ? done : error;
		done += n;
		offset = 0;
	}
	return done;
}

static int64_t receive(struct tcp_socket *t, struct stream_io *io, bool peek)
{
	int64_t done = 0;
	int error = 0;
	bool came;

	mutex_lock(&t->reader);
	do {
		if (peek) {
			done = look(t, io);
			error = (int)MIN(done, 0);
			done = MAX(done, 0);
		}
		while (!peek && io->left && t->in && !error) {
			const struct pbuf *head = t->in;
			uint32_t n = (uint32_t)MIN(io->left, (uint64_t)(head->len - t->in_offset));

			error =
			    stream_io_out_direct(io, (const char *)head->payload + t->in_offset, n);
			if (error)
				break;
			done += n;
			consume(t, n);
		}
		// The last bytes and the FIN behind them may both come just now: the end is believed only where
		// nothing lies before it. Who wants no bytes waits, too, and gets none.
		wtd_disable();
		came = !done && !error && t->in && io->left;
		if (!done && !error && !t->in)
			done = nothing(t);
		wtd_enable();
	} while (came);
	mutex_unlock(&t->reader);
	return done ? done : error;
}

int64_t tcp_socket_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return receive(tcp_of(s), io, false);
}

int64_t tcp_socket_receive(struct stream *s, struct socket_message *m)
{
	if (m->flags & MSG_ERRQUEUE)
		return tcp_zerocopy_receive(tcp_of(s), m);
	return receive(tcp_of(s), &m->io, m->flags & MSG_PEEK);
}

static void loan_get(void *owner)
{
	wtd_disable();
	pbuf_ref(owner);
	wtd_enable();
}

static void loan_put(void *owner)
{
	wtd_disable();
	pbuf_free(owner);
	stack_flush();
	wtd_enable();
}

static const struct stream_loan_kind in_pbuf = {.get = loan_get, .put = loan_put};

// What lies in a page of a file, over loopback, goes as such; else the receive buffer stays away from the card until
// the bytes are read at a pipe's other end.
int64_t tcp_socket_lend(struct stream *s, uint32_t most, struct stream_loan *out)
{
	struct tcp_socket *t = tcp_of(s);
	struct pbuf *head;
	int64_t n = 0;

	mutex_lock(&t->reader);
	wtd_disable();
	head = t->in;
	if (!head)
		n = nothing(t);
	wtd_enable();
	if (head) {
		const char *data = (const char *)head->payload + t->in_offset;
		struct page *page = page_of_phys(virt_to_phys(data));

		*out =
		    (struct stream_loan){.bytes = MIN(most, (uint32_t)(head->len - t->in_offset))};
		if (page->flags & PAGE_CACHE) {
			out->page = page;
			out->offset = (uint32_t)((uintptr_t)data % PAGE_SIZE);
			out->bytes = MIN(out->bytes, (uint32_t)PAGE_SIZE - out->offset);
			page_wire_get(page);
		} else {
			out->kind = &in_pbuf;
			out->owner = head;
			out->data = data;
			loan_get(head);
		}
		n = out->bytes;
		consume(t, out->bytes);
	}
	mutex_unlock(&t->reader);
	return n;
}

// ---- sending ----

int64_t tcp_socket_room(struct tcp_socket *t)
{
	if (t->no_more_out)
		return -EPIPE;
	if (!t->pcb) {
		int error = t->common.error;

		return t->state == FRESH ? -ENOTCONN : error ? -error : -EPIPE;
	}
	if (t->state != OPEN)
		return t->state == CONNECTING ? -EAGAIN : -ENOTCONN;
	if (tcp_sndqueuelen(t->pcb) + 4U > tcp_sndbuf_pbufs(t->pcb))
		return -EAGAIN;
	return tcp_sndbuf(t->pcb) ? (int64_t)tcp_sndbuf(t->pcb) : -EAGAIN;
}

int64_t tcp_socket_room_seen(struct tcp_socket *t)
{
	int64_t n;

	wtd_disable();
	n = tcp_socket_room(t);
	wtd_enable();
	return n;
}

// (S) A frame with room for more, wired for us.
static bool need_page(struct tcp_socket *t)
{
	if (t->page && t->page_used < PAGE_SIZE)
		return true;
	if (t->page)
		page_wire_put(t->page);
	t->page = user_frame_alloc();
	t->page_used = 0;
	if (!t->page)
		return false;
	page_wire_get(t->page);
	user_frame_put(t->page); // nobody maps it: it lives as long as it is on the wire
	return true;
}

// (S) Copies and queues one piece. Bytes, -EAGAIN, or an error.
static int64_t send_piece(struct tcp_socket *t, struct stream_io *io, bool more)
{
	struct stream_io before = *io;
	int64_t n = tcp_socket_room_seen(t), room;
	err_t err = ERR_CONN;
	int error;

	if (n <= 0)
		return n;
	if (!need_page(t))
		return -EAGAIN;
	n = MIN(n, (int64_t)MIN(io->left, PAGE_SIZE - t->page_used));
	error = stream_io_in(io, (char *)page_virt(t->page) + t->page_used, (size_t)n);
	if (error)
		return error;
	wtd_disable();
	room = tcp_socket_room(t); // it may have ended meanwhile
	if (room > 0)
		err = pagebuf_write(t->pcb, t->page, (uint16_t)t->page_used, (uint16_t)n,
				    more || io->left);
	wtd_enable();
	if (err != ERR_OK) {
		*io = before;
		return err == ERR_MEM ? -EAGAIN : room < 0 ? room : -EPIPE;
	}
	t->page_used += (uint32_t)n;
	return n;
}

void tcp_socket_push(struct tcp_socket *t)
{
	wtd_disable();
	if (t->pcb && t->state == OPEN) {
		tcp_output(t->pcb);
		stack_flush();
	}
	wtd_enable();
}

static int64_t send(struct tcp_socket *t, struct stream_io *io, bool more)
{
	int64_t done = 0, n = 0;

	mutex_lock(&t->sender);
	while (io->left && (n = send_piece(t, io, more || t->cork)) > 0)
		done += n;
	if (n == -EAGAIN || (done && !more && !t->cork))
		tcp_socket_push(t);
	mutex_unlock(&t->sender);
	return done ? done : n;
}

int64_t tcp_socket_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return send(tcp_of(s), io, false);
}

int64_t tcp_socket_send(struct stream *s, struct socket_message *m)
{
	struct tcp_socket *t = tcp_of(s);

	if (m->flags & MSG_ZEROCOPY && t->zerocopy_on && !m->io.kernel && m->io.left)
		return tcp_zerocopy_send(t, m);
	return send(t, &m->io, m->flags & MSG_MORE);
}

// WTDs off. A part of a pbuf that somebody else received.
static err_t write_slice(struct tcp_socket *t, const struct stream_loan *loan, uint16_t bytes,
			 bool more)
{
	struct pbuf *whole = loan->owner;
	struct pbuf *slice =
	    pbuf_slice(whole, (u16_t)(loan->data - (const char *)whole->payload), bytes);
	err_t err = slice ? tcp_write_pbuf(t->pcb, slice, more ? TCP_WRITE_FLAG_MORE : 0) : ERR_MEM;

	if (slice && err != ERR_OK)
		pbuf_free(slice);
	return err;
}

static int64_t take_reference(struct tcp_socket *t, const struct stream_loan *what, bool more)
{
	int64_t n;

	mutex_lock(&t->sender);
	wtd_disable();
	n = tcp_socket_room(t);
	if (n > 0) {
		err_t err;

		n = MIN(n, (int64_t)what->bytes);
		more |= t->cork;
		err = what->page ? pagebuf_write(t->pcb, what->page, (uint16_t)what->offset,
						 (uint16_t)n, more)
				 : write_slice(t, what, (uint16_t)n, more);
		if (err != ERR_OK)
			n = err == ERR_MEM ? -EAGAIN : -EPIPE;
	}
	if (n == -EAGAIN || (n > 0 && !more)) {
		if (t->pcb && t->state == OPEN)
			tcp_output(t->pcb);
		stack_flush();
	}
	wtd_enable();
	mutex_unlock(&t->sender);
	return n;
}

int64_t tcp_socket_take_page(struct stream *s, struct page *page, uint32_t offset, uint32_t bytes,
			     bool more)
{
	const struct stream_loan what = {.page = page, .offset = offset, .bytes = bytes};

	return take_reference(tcp_of(s), &what, more);
}

int64_t tcp_socket_take_loan(struct stream *s, const struct stream_loan *loan, bool more)
{
	return loan->kind == &in_pbuf ? take_reference(tcp_of(s), loan, more) : -EOPNOTSUPP;
}

unsigned tcp_socket_poll(struct stream *s)
{
	struct tcp_socket *t = tcp_of(s);
	unsigned events = tcp_zerocopy_told(t) ? STREAM_NOTICE : 0;

	if (t->state == LISTENING)
		return t->queue.first ? STREAM_IN : 0;
	if (t->state == FRESH)
		return STREAM_OUT | STREAM_HUP;
	if (t->in || t->fin_seen || t->deaf)
		events |= STREAM_IN;
	if (t->fin_seen)
		events |= STREAM_RDHUP;
	if (t->common.error)
		events |= STREAM_ERR;
	if (!t->pcb || (t->fin_seen && t->no_more_out))
		events |= STREAM_HUP;
	if (!t->pcb || (t->state == OPEN && (t->no_more_out || tcp_socket_room(t) > 0)))
		events |= STREAM_OUT;
	return events;
}
