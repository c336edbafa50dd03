// Package health is how an agent is, as "siflet agent status --json" tells it and other
// commands read it: they do not speak the agent's protocol themselves.
package health

// Agent is an agent that answers.
type Agent struct {
	Runtime    string      `json:"runtime"`
	Version    string      `json:"version"`
	Conditions []Condition `json:"conditions"`
}

// Condition is one thing that the agent says of itself, such as RuntimeReady.
type Condition struct {
	Type    string `json:"type"`
	OK      bool   `json:"ok"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Ready says that there is nothing the agent complains of.
func (a Agent) Ready() bool {
	for _, c := range a.Conditions {
		if !c.OK {
			return false
		}
	}
	return true
}
