%% One measurement of an Erlang supervisor: `escript erlang.erl WORKLOAD SIZE`.
%% Prints operations, wall ns, CPU ns and bytes grown, as every measurement of this table does.
-mode(compile).
-export([main/1, start/1, init/1, run/2]).

-define(IN_FLIGHT, 10000).

main([Workload, Size]) ->
    measure(Workload, list_to_integer(Size)).

%% A supervisor of temporary children: none is started again.
init([]) ->
    Child = #{id => task, start => {?MODULE, start, []}, restart => temporary, shutdown => 5000},
    {ok, {#{strategy => simple_one_for_one}, [Child]}}.

start(Body) ->
    proc_lib:start_link(?MODULE, run, [self(), Body]).

run(Parent, Body) ->
    proc_lib:init_ack(Parent, {ok, self()}),
    body(Body).

body(complete) -> ok;
body({wait, Driver}) -> Driver ! started, wait();
body({receives, Driver, 0}) -> Driver ! complete, wait();
body({receives, Driver, Left}) -> receive {number, _} -> body({receives, Driver, Left - 1}) end.

wait() -> receive never -> ok end.

supervisor() ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, []),
    Supervisor.

child(Supervisor, Body) ->
    {ok, Child} = supervisor:start_child(Supervisor, [Body]),
    Child.

measure("complete", Size) ->
    Supervisor = supervisor(),
    watched(Size, fun() -> complete(Supervisor, Size, 0) end);
measure("live", Size) ->
    Supervisor = supervisor(),
    watched(Size, fun() -> live(Supervisor, Size) end);
measure("cancel-flat", Size) ->
    Supervisor = supervisor(),
    live(Supervisor, Size),
    unlink(Supervisor),
    Monitor = monitor(process, Supervisor),
    watched(Size, fun() ->
        exit(Supervisor, shutdown),
        receive {'DOWN', Monitor, process, _, _} -> ok end
    end);
measure("inbox-1", Size) -> inbox(1, Size);
measure("inbox-1000", Size) -> inbox(1000, Size);
measure("events-1", Size) -> events(1, Size);
measure("events-10", Size) -> events(10, Size);
measure("events-100", Size) -> events(100, Size).

complete(_, 0, 0) -> ok;
complete(Supervisor, Left, UnderWay) when Left > 0, UnderWay < ?IN_FLIGHT ->
    monitor(process, child(Supervisor, complete)),
    complete(Supervisor, Left - 1, UnderWay + 1);
complete(Supervisor, Left, UnderWay) ->
    receive {'DOWN', _, process, _, _} -> complete(Supervisor, Left, UnderWay - 1) end.

live(Supervisor, Size) ->
    [child(Supervisor, {wait, self()}) || _ <- lists:seq(1, Size)],
    [receive started -> ok end || _ <- lists:seq(1, Size)].

inbox(Children, Size) ->
    Supervisor = supervisor(),
    Body = {receives, self(), Size div Children},
    Tasks = list_to_tuple([child(Supervisor, Body) || _ <- lists:seq(1, Children)]),
    watched(Size, fun() ->
        send(Tasks, Children, Size),
        [receive complete -> ok end || _ <- lists:seq(1, Children)]
    end).

send(_, _, 0) -> ok;
send(Tasks, Children, Left) ->
    element(Left rem Children + 1, Tasks) ! {number, Left},
    send(Tasks, Children, Left - 1).

events(Subscribers, Size) ->
    Supervisor = supervisor(),
    Tasks = [child(Supervisor, {receives, self(), Size}) || _ <- lists:seq(1, Subscribers)],
    watched(Size * Subscribers, fun() ->
        [[Task ! {number, Number} || Task <- Tasks] || Number <- lists:seq(1, Size)],
        [receive complete -> ok end || _ <- Tasks]
    end).

watched(Operations, Work) ->
    {Bytes, Began} = {resident(), erlang:monotonic_time(nanosecond)},
    {Cpu, _} = statistics(runtime),
    Work(),
    Wall = erlang:monotonic_time(nanosecond) - Began,
    {Later, _} = statistics(runtime),
    io:format("~b ~b ~b ~b~n", [Operations, Wall, (Later - Cpu) * 1000000, resident() - Bytes]).

resident() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.
