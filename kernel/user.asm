; SPDX-License-Identifier: BSD-2-Clause
; The border to ring 3: SYSCALL's entry, the one way back, the first entry, and the only instructions that
; touch a program's memory. Intel SDM volume 2 (SYSCALL, SYSRET), volume 3 chapter 6.
;
; Whatever brought a program into the kernel, its registers lie as a struct trap_frame at the top of its
; kernel stack; user_return looks after signals and restores them.

extern syscall_dispatch
extern user_leave
global syscall_entry
global user_return
global user_enter
global user_move
global user_move_end
global user_move_fault

%include "kernel/registers.inc"

%define USER_DATA	0x1b
%define USER_CODE	0x23
%define VECTOR_SYSCALL	256		; kernel/trap.h
%define FRAME_BYTES	(22 * 8)
%define FRAME_RIP	(17 * 8)
%define FRAME_RFLAGS	(19 * 8)
%define FRAME_RCX	(12 * 8)
%define FRAME_R11	(4 * 8)
%define FRAME_VECTOR	(15 * 8)

section .text

; RCX has the program's RIP, R11 its RFLAGS; interrupts are off (FMASK).
align 16
syscall_entry:
	swapgs
	mov [gs:16], rsp		; struct cpu, user_sp
	mov rsp, [gs:8]			; kernel_stack
	push qword USER_DATA
	push qword [gs:16]
	push r11
	push qword USER_CODE
	push rcx
	push rax			; error: the number of the call, for a restart
	push qword VECTOR_SYSCALL
	SAVE_REGISTERS rdi
	cld
	mov rdi, rsp
	push rcx			; for backtraces, as trap.asm does
	push rbp
	mov rbp, rsp
	sti
	call syscall_dispatch
	cli
	add rsp, 16

; RSP is at the frame, GS is the kernel's, interrupts are off.
user_return:
	mov rdi, rsp
	call user_leave
	; SYSRET takes RIP from RCX and RFLAGS from R11, and faults in ring 0 when RIP is no canonical
	; address; user_leave has seen to it that it is. Anything but a plain return from a call needs IRETQ.
	cmp qword [rsp + FRAME_VECTOR], VECTOR_SYSCALL
	jne .full
	mov rcx, [rsp + FRAME_RIP]
	cmp rcx, [rsp + FRAME_RCX]
	jne .full
	mov r11, [rsp + FRAME_RFLAGS]
	cmp r11, [rsp + FRAME_R11]
	jne .full
	RESTORE_REGISTERS
	mov rsp, [rsp + 5 * 8]		; vector, error, RIP, CS, RFLAGS, then RSP
	swapgs
	o64 sysret
.full:
	RESTORE_REGISTERS
	add rsp, 16
	swapgs
	iretq

; NORETURN void user_enter(const struct trap_frame *frame, uintptr_t top): a thread's first entry. The frame
; lies anywhere but on this stack; it is copied to the top.
align 16
user_enter:
	cli
	mov rsp, rsi
	lea rsi, [rdi + FRAME_BYTES]
	mov ecx, 22
.copy:
	sub rsi, 8
	push qword [rsi]
	dec ecx
	jnz .copy
	jmp user_return

; bool user_move(void *to, const void *from, size_t bytes, bool smap): one side is a program's memory, within one
; page, and may fault: true when it did, and then what is there is undefined. Interrupts are off: between
; STAC and CLAC nobody else runs. A fault that cannot be mended continues at user_move_fault
; (kernel/trap.c asks usercopy.c).
align 16
user_move:
	mov r8d, ecx
	mov rcx, rdx
	and edx, 7
	shr rcx, 3
	test r8b, r8b
	jz .open
	stac
.open:
	rep movsq
	mov ecx, edx
	rep movsb
	xor eax, eax
user_move_end:
	test r8b, r8b
	jz .shut
	clac
.shut:
	ret
user_move_fault:
	mov eax, 1
	jmp user_move_end
