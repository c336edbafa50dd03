#include "textflag.h"

// The kernel enters with the signal's number in R0, on the signal stack. The
// handler knows nothing of Go: write(noteFD, &number, 1).
TEXT ·noteSignal(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	SUB	$16, RSP
	MOVD	R0, (RSP)
	MOVD	$63, R0
	MOVD	RSP, R1
	MOVD	$1, R2
	MOVD	$64, R8
	SVC
	ADD	$16, RSP
	RET

// rt_sigreturn
TEXT ·returnSignal(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVD	$139, R8
	SVC
	BRK	$0

TEXT ·noteSignalPC(SB),NOSPLIT,$0-8
	MOVD	$·noteSignal(SB), R0
	MOVD	R0, ret+0(FP)
	RET

TEXT ·returnSignalPC(SB),NOSPLIT,$0-8
	MOVD	$·returnSignal(SB), R0
	MOVD	R0, ret+0(FP)
	RET
