"""The mesh: runtime, certificates, control plane, storage, events, policy and the local stack."""
