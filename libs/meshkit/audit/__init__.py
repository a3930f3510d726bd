"""The recording side of the audit log: what a service decided, on its way to auth's store.

The interceptor `meshkit.interceptors.audit` makes a record of each decision that the option
of an RPC marks and gives it to the `Recorder`; a handler may say more about its call by `note`.
"""

from meshkit.audit.notes import note
from meshkit.audit.record import Decision, Record
from meshkit.audit.recorder import Recorder, Sink
from meshkit.audit.sink import AuthSink

__all__ = ["AuthSink", "Decision", "Record", "Recorder", "Sink", "note"]
