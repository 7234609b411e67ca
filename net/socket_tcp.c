// SPDX-License-Identifier: BSD-2-Clause
// TCP sockets of programs: their life, their names, lwIP's callbacks (net/socket_tcp.h).
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "net/loopback.h"
#include "net/socket_tcp.h"
#include "net/stack.h"

// Descriptors of programs on connections, as many as HTTP may have; more is -ENFILE.
static struct pool socket_pool = POOL_INIT("tcp socket", struct tcp_socket, 24576);

static const struct stream_ops tcp_stream_ops;

// ---- lwIP's callbacks; fast WTD, or a thread with WTDs off ----

static err_t on_receive(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct tcp_socket *t = arg;

	if (!p) {
		t->fin_seen = true;
	} else if (t->deaf) {
		tcp_recved(pcb, p->tot_len);
		pbuf_free(p);
	} else {
		t->in_bytes += p->tot_len;
		if (!p->len) { // where the headers were, over loopback
			struct pbuf *head = p;

			p = p->next;
			head->next = NULL;
			pbuf_free(head);
		}
		*(t->in ? &t->in_last->next : &t->in) = p;
		while (p->next)
			p = p->next;
		t->in_last = p;
	}
	stream_notify(stream_of(t));
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	stream_notify(stream_of(arg));
	return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
	struct tcp_socket *t = arg;

	t->pcb = NULL;
	t->fin_seen = true;
	t->failed = t->state == CONNECTING;
	t->common.error =
	    t->state == CONNECTING && err == ERR_RST ? ECONNREFUSED : -socket_error_of(err);
	t->state = OPEN;
	stream_notify(stream_of(t));
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct tcp_socket *t = arg;

	t->state = OPEN;
	tcp_socket_apply_window(t);
	stream_notify(stream_of(t));
	return ERR_OK;
}

void tcp_socket_drop_first(struct tcp_socket *t)
{
	struct pbuf *head = t->in;

	t->in = head->next;
	head->next = NULL;
	head->tot_len = head->len;
	pbuf_free(head);
}

void tcp_socket_attach(struct tcp_socket *t, struct tcp_pcb *pcb)
{
	t->pcb = pcb;
	tcp_arg(pcb, t);
	tcp_recv(pcb, on_receive);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
}

void tcp_socket_detach(struct tcp_pcb *pcb)
{
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
}

struct tcp_socket *tcp_socket_make(bool v6)
{
	struct tcp_socket *t = pool_alloc(&socket_pool);

	if (!t)
		return NULL;
	t->common = (struct socket_common){.v6 = v6,
					   .receive_ns = UINT64_MAX,
					   .send_ns = UINT64_MAX,
					   .receive_bytes = TCP_WND,
					   .send_bytes = TCP_SND_BUF};
	stream_init(stream_of(t), &tcp_stream_ops, STREAM_RDWR);
	t->next_listener = t;
	t->reader = (struct mutex)MUTEX_INIT("socket reader");
	t->sender = (struct mutex)MUTEX_INIT("socket sender");
	return t;
}

// ---- names ----

int tcp_socket_need_pcb(struct tcp_socket *t)
{
	struct tcp_pcb *pcb;

	if (t->pcb)
		return 0;
	if (t->state != FRESH)
		return -EINVAL;
	pcb = tcp_new_ip_type(t->common.v6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
	if (!pcb)
		return -ENOBUFS;
	tcp_socket_attach(t, pcb);
	tcp_socket_apply(t);
	return 0;
}

static int tcp_socket_bind(struct stream *s, const struct socket_address *name)
{
	struct tcp_socket *t = tcp_of(s);
	ip_addr_t ip;
	uint16_t port;
	int error = socket_to_ip(&t->common, name, &ip, &port);

	if (error)
		return error;
	wtd_disable();
	error = t->state != FRESH	? -EINVAL
		: !socket_may_bind(&ip) ? -EADDRNOTAVAIL
					: tcp_socket_need_pcb(t);
	if (!error && t->pcb->local_port)
		error = -EINVAL;
	if (!error)
		error = tcp_socket_claim(t, &ip, port);
	wtd_enable();
	return error;
}

// WTDs off. What is said to this machine is said from the address that it is said to.
static int set_source(struct tcp_pcb *pcb, const ip_addr_t *to)
{
	ip_addr_t from;

	if (!loopback_source(to, &from))
		return ip_addr_isloopback(&pcb->local_ip) ? -EINVAL : 0;
	if (ip_addr_isany(&pcb->local_ip))
		pcb->local_ip = from;
	return 0;
}

// WTDs off. As on Linux: what became of the attempt that failed is told once, then there may be another.
static int begin_again(struct tcp_socket *t)
{
	int error = socket_take_error(stream_of(t));

	if (error)
		return -error;
	t->state = FRESH;
	t->failed = t->fin_seen = t->no_more_out = t->deaf = false;
	return 0;
}

static int tcp_socket_connect(struct stream *s, const struct socket_address *name)
{
	struct tcp_socket *t = tcp_of(s);
	ip_addr_t ip;
	uint16_t port;
	int error = socket_to_ip(&t->common, name, &ip, &port);

	if (error)
		return error;
	wtd_disable();
	if (t->state == OPEN && t->failed)
		error = begin_again(t);
	if (error)
		;
	else if (t->state != FRESH)
		error = t->state == CONNECTING ? -EALREADY : t->state == OPEN ? -EISCONN : -EINVAL;
	else
		error = tcp_socket_need_pcb(t);
	if (!error) {
		socket_peer_ip(&ip);
		error = set_source(t->pcb, &ip);
	}
	if (!error) {
		t->state = CONNECTING;
		error = socket_error_of(tcp_connect(t->pcb, &ip, port, on_connected));
		if (error)
			t->state = FRESH;
		stack_flush();
	}
	wtd_enable();
	return error ? error : -EINPROGRESS;
}

static int tcp_socket_name(struct stream *s, bool peer, struct socket_address *out)
{
	struct tcp_socket *t = tcp_of(s);
	int error = 0;

	wtd_disable();
	if (peer && (!t->pcb || t->state != OPEN))
		error = -ENOTCONN;
	else if (!t->pcb)
		socket_from_ip(&t->common, IP_ADDR_ANY, 0, out);
	else if (peer)
		socket_from_ip(&t->common, &t->pcb->remote_ip, t->pcb->remote_port, out);
	else
		socket_from_ip(&t->common, &t->pcb->local_ip, t->pcb->local_port, out);
	wtd_enable();
	return error;
}

// ---- state ----

static int tcp_socket_shutdown(struct stream *s, int how)
{
	struct tcp_socket *t = tcp_of(s);
	int error = 0;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	wtd_disable();
	if (!t->pcb || t->state != OPEN)
		error = t->state == LISTENING ? 0 : -ENOTCONN;
	if (!error && t->state == OPEN && how != SHUT_WR)
		t->deaf = true;
	if (!error && t->state == OPEN && how != SHUT_RD && !t->no_more_out) {
		t->no_more_out = true;
		error = socket_error_of(tcp_shutdown(t->pcb, 0, 1));
		stack_flush();
	}
	wtd_enable();
	stream_notify(s);
	return error;
}

// WTDs off. As Linux: data that nobody read, or a linger time of 0, ends the connection with a reset.
static void close_pcb(struct tcp_socket *t)
{
	struct tcp_pcb *pcb = t->pcb;

	if (!pcb)
		return;
	t->pcb = NULL;
	tcp_socket_detach(pcb);
	if (t->in_bytes || (t->linger_on && !t->linger_seconds) || tcp_close(pcb) != ERR_OK)
		tcp_abort(pcb);
	stack_flush();
}

void tcp_socket_forget(struct tcp_socket *t)
{
	while (t->in)
		tcp_socket_drop_first(t);
	pool_free(&socket_pool, t);
}

static void tcp_socket_close(struct stream *s)
{
	struct tcp_socket *t = tcp_of(s);

	wtd_disable();
	if (t->state == LISTENING)
		tcp_socket_stop_listening(t);
	close_pcb(t);
	tcp_zerocopy_close(t);
	wtd_enable();
	if (t->page)
		page_wire_put(t->page);
	wtd_disable();
	tcp_socket_forget(t);
	wtd_enable();
}

static const struct socket_ops tcp_socket_ops = {.bind = tcp_socket_bind,
						 .connect = tcp_socket_connect,
						 .listen = tcp_socket_listen,
						 .accept = tcp_socket_accept,
						 .name = tcp_socket_name,
						 .send = tcp_socket_send,
						 .receive = tcp_socket_receive,
						 .shutdown = tcp_socket_shutdown,
						 .set_option = tcp_socket_set_option,
						 .get_option = tcp_socket_get_option,
						 .error = socket_take_error,
						 .told = socket_told,
						 .receive_timeout_ns = socket_receive_timeout,
						 .send_timeout_ns = socket_send_timeout};
static const struct stream_ops tcp_stream_ops = {.kind = STREAM_SOCKET,
						 .read = tcp_socket_read,
						 .write = tcp_socket_write,
						 .poll = tcp_socket_poll,
						 .close = tcp_socket_close,
						 .ioctl = tcp_socket_ioctl,
						 .take_page = tcp_socket_take_page,
						 .lend = tcp_socket_lend,
						 .take_loan = tcp_socket_take_loan,
						 .socket = &tcp_socket_ops};

int socket_tcp_new(bool v6, struct stream **out)
{
	struct tcp_socket *t = tcp_socket_make(v6);

	if (!t)
		return -ENFILE;
	*out = stream_of(t);
	return 0;
}
