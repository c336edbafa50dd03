package network

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDevKnowsEveryColumn(t *testing.T) {
	text := `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:       1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16
net1:18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
  odd0: 1 2
`
	want := []InterfaceCounters{
		{Name: "eth0", RxBytes: 1, RxPackets: 2, RxErrors: 3, RxDropped: 4, TxBytes: 9, TxPackets: 10, TxErrors: 11, TxDropped: 12},
		{Name: "net1", RxBytes: 1<<64 - 1},
	}
	var got []InterfaceCounters
	parseDev([]byte(text), func(c InterfaceCounters) { got = append(got, c) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseDev (-want +got):\n%s", diff)
	}
}
