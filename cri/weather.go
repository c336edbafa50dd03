package cri

import criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// weather are conditions that are there only while something is wrong that keeps no pod
// from running: a kubelet, which takes a node away from its pods when its runtime is not
// ready, shows them and does nothing about them.
func (s *Server) weather() []*criapi.RuntimeCondition {
	var out []*criapi.RuntimeCondition
	add := func(kind, reason string, err error) {
		if err != nil {
			out = append(out, condition(kind, reason, err))
		}
	}
	if s.socket != nil {
		add("SocketReady", "SocketLost", s.socket.trouble())
	}
	add("ImageRecordsIntact", "RecordsCorrupt", s.images.Intact())
	for _, t := range s.engine.Troubles() {
		add(t.Condition, t.Reason, t.Err)
	}
	return out
}
