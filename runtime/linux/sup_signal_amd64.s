#include "textflag.h"

// The kernel enters with the signal's number in DI, on the signal stack. The
// handler knows nothing of Go: write(noteFD, &number, 1).
TEXT ·noteSignal(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	PUSHQ	DI
	MOVL	$63, DI
	MOVQ	SP, SI
	MOVL	$1, DX
	MOVL	$1, AX
	SYSCALL
	POPQ	DI
	RET

// rt_sigreturn
TEXT ·returnSignal(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVL	$15, AX
	SYSCALL
	INT	$3

TEXT ·noteSignalPC(SB),NOSPLIT,$0-8
	LEAQ	·noteSignal(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·returnSignalPC(SB),NOSPLIT,$0-8
	LEAQ	·returnSignal(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
