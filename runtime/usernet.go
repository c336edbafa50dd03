package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// userNetwork gives namespaces made without privileges a network, by the first program
// that can. The keeper is the caller's to close, or to hand to the instance.
func (u *Unprivileged) userNetwork(
	ctx context.Context, binary *os.File, own *linux.OwnNamespaces, run, id string, ports []Port, cgroup string,
) (*supervisor.Keeper, network.Result, error) {
	proc, err := own.Proc()
	if err != nil {
		return nil, network.Result{}, err
	}
	const enough = 12 // of an ID: a socket's path has 108 bytes at most
	helpers, err := u.Network.Helpers(proc, filepath.Join(run, "net-"+id[:enough]), ports)
	if err != nil {
		return nil, network.Result{}, fmt.Errorf("attach network: %w", err)
	}
	var errs error
	for _, helper := range helpers {
		keeper, err := startHelper(ctx, binary, helper, cgroup)
		if err == nil {
			return keeper, helper.Result, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, network.Result{}, fmt.Errorf("attach network: %w", errs)
}

func startHelper(ctx context.Context, binary *os.File, helper network.Helper, cgroup string) (*supervisor.Keeper, error) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	keeper, err := supervisor.StartKeeper(binary, helper.ReadyFD, helper.API == "" || len(helper.Result.Ports) == 0, helper.Args, cgroup)
	if err != nil {
		return nil, err
	}
	if err = keeper.Await(ctx); err == nil {
		err = helper.Publish(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, keeper.Close()) //nolint:contextcheck // the cleanup outlives ctx
	}
	return keeper, nil
}

// networkOf starts the network of an instance without privileges, if it is to have one.
func (e *Engine) networkOf(ctx context.Context, i *instance, own *linux.OwnNamespaces, cgroup string) (*supervisor.Keeper, error) {
	spec := &i.rec.Spec
	if spec.Namespaces.Network == ModeHost || spec.LoopbackOnly {
		return nil, nil //nolint:nilnil // it needs none
	}
	keeper, result, err := e.cfg.Unprivileged.userNetwork(ctx, e.binary, own, e.cfg.RunDir, i.id, spec.Ports, cgroup)
	if err != nil {
		return nil, err
	}
	e.background(func() { //nolint:contextcheck // it outlives the call
		_ = keeper.Wait(e.life.ctx()) // the supervisor tells of its end
	})
	i.mu.Lock()
	i.rec.Network = &result
	i.mu.Unlock()
	return keeper, writeHosts(i, result)
}

// attachUser gives the namespaces of a run a network, and has its end told.
func (o *once) attachUser(ctx context.Context) error {
	u := o.cfg.Unprivileged
	if !o.cfg.UserNetwork || o.spaces.Network == ModeHost {
		return nil
	}
	binary, err := u.openBinary(o.cfg.InstanceBinary)
	if err != nil {
		return fmt.Errorf("open siflet-instance: %w", err)
	}
	defer binary.Close() //nolint:errcheck // opened to be executed only
	if o.keeper, _, err = u.userNetwork(ctx, binary, o.own, o.cfg.Dir, o.id, o.cfg.Ports, ""); err != nil {
		return err
	}
	o.kept = make(chan struct{})
	go func() {
		defer close(o.kept)
		if lost := o.keeper.Lost(); lost != "" && o.cfg.NetworkLost != nil {
			o.cfg.NetworkLost(lost)
		}
	}()
	return nil
}

func (o *once) detachUser() error {
	if o.keeper == nil {
		return nil
	}
	err := o.keeper.Close()
	<-o.kept
	return err
}
