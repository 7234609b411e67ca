; SPDX-License-Identifier: BSD-2-Clause
; Switching stacks. Everything a C function must preserve goes on the old stack; the rest its caller
; has saved already. Interrupts are off, and stay so: RFLAGS is not switched.

global context_switch
global context_save
global context_restore

section .text

; uintptr_t context_switch(uintptr_t *save, uintptr_t load)
; A new thread's stack is laid out as if it had called this from its first function
; (kernel/thread.c).
align 16
context_switch:
	push rbp
	push rbx
	push r12
	push r13
	push r14
	push r15
	mov [rdi], rsp
	mov rsp, rsi
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbx
	pop rbp
	ret

; int context_save(struct context *c): 0 now, 1 when context_restore comes back here. For
; ktest_panics; the caller's frame must still be there.
align 16
context_save:
	mov [rdi], rbx
	mov [rdi + 8], rbp
	mov [rdi + 16], r12
	mov [rdi + 24], r13
	mov [rdi + 32], r14
	mov [rdi + 40], r15
	lea rax, [rsp + 8]
	mov [rdi + 48], rax
	mov rax, [rsp]
	mov [rdi + 56], rax
	xor eax, eax
	ret

; void context_restore(const struct context *c)
align 16
context_restore:
	mov rbx, [rdi]
	mov rbp, [rdi + 8]
	mov r12, [rdi + 16]
	mov r13, [rdi + 24]
	mov r14, [rdi + 32]
	mov r15, [rdi + 40]
	mov rsp, [rdi + 48]
	mov eax, 1
	jmp [rdi + 56]
