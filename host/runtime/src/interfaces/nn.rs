//! The standard `wasi:nn`: graphs by name from the catalog, tensors that stay on the host until asked for.

use bytes::Bytes;
use halfpipe_core::Pending;
use halfpipe_nn::Tensor;
use wasmtime::component::{Linker, Resource};

use crate::bindings::wasi::nn::{errors, graph, inference, tensor};
use crate::error::NnHostError;
use crate::resources::{BookedTensor, ContextHandle, GraphHandle, NnErrorHandle, TensorHandle, host_type, wit_type};
use crate::state::JobState;
use errors::ErrorCode;

/// Most inputs a model may be given in one call.
const MOST_INPUTS: usize = 64;

impl JobState {
    /// A tensor's bytes where they are.
    async fn tensor_data(&mut self, this: &Resource<TensorHandle>) -> wasmtime::Result<Bytes> {
        self.touch();
        let pending = self.table.get(this)?.value.clone();
        // the standard's `data` cannot fail either: the error of the call that made the tensor ends the guest
        let tensor = pending.wait().await.map_err(wasmtime::Error::from)?.tensor.clone();
        let bytes = Bytes::from_owner(tensor);
        self.clock.read(pending.origin(), bytes.len() as u64);
        Ok(bytes)
    }
}

/// Has `data` copy a tensor's bytes from where they are straight to the guest. The generated binding knows lists as vectors only, and the
/// heads of networks, megabytes a frame, would be copied once more to become one.
pub(crate) fn give_data_in_place(linker: &mut Linker<JobState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker
        .instance("wasi:nn/tensor@0.2.0-rc-2024-10-28")?
        .func_wrap_async("[method]tensor.data", |mut store, (this,): (Resource<TensorHandle>,)| {
            Box::new(async move { Ok((store.data_mut().tensor_data(&this).await?,)) })
        })?;
    linker.allow_shadowing(false);
    Ok(())
}

impl tensor::HostTensor for JobState {
    async fn new(&mut self, dimensions: Vec<u32>, ty: tensor::TensorType, data: Vec<u8>) -> wasmtime::Result<Resource<TensorHandle>> {
        self.touch();
        // the standard's constructor cannot fail, so a bad tensor is a trap that says why
        let dims: Vec<usize> = dimensions.iter().map(|d| *d as usize).collect();
        let tensor =
            Tensor::from_bytes(dims, host_type(ty), &data).map_err(|e| wasmtime::Error::msg(format!("tensor constructor: {e}")))?;
        let lease = self.budget.try_take(data.len() as u64).map_err(|e| wasmtime::Error::msg(format!("tensor constructor: {e}")))?;
        Ok(self.table.push(TensorHandle { value: Pending::ready(BookedTensor { tensor, lease }) })?)
    }

    async fn dimensions(&mut self, this: Resource<TensorHandle>) -> wasmtime::Result<Vec<u32>> {
        self.touch();
        let value = self.table.get(&this)?.value.wait();
        let value = value.await.map_err(wasmtime::Error::from)?;
        Ok(value.tensor.dims().iter().map(|d| *d as u32).collect())
    }

    async fn ty(&mut self, this: Resource<TensorHandle>) -> wasmtime::Result<tensor::TensorType> {
        self.touch();
        let value = self.table.get(&this)?.value.wait();
        Ok(wit_type(value.await.map_err(wasmtime::Error::from)?.tensor.ty()))
    }

    async fn data(&mut self, this: Resource<TensorHandle>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.tensor_data(&this).await?.into())
    }

    fn drop(&mut self, this: Resource<TensorHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl tensor::Host for JobState {}

impl errors::HostError for JobState {
    async fn code(&mut self, this: Resource<NnErrorHandle>) -> wasmtime::Result<ErrorCode> {
        Ok(self.table.get(&this)?.code)
    }
    async fn data(&mut self, this: Resource<NnErrorHandle>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.message.clone())
    }
    async fn drop(&mut self, this: Resource<NnErrorHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl errors::Host for JobState {}

/// What a fallible call of the standard gives: a value or an error resource, or a trap.
type Answer<T> = wasmtime::Result<Result<T, Resource<NnErrorHandle>>>;

impl JobState {
    /// Turns an error into the resource that the standard's calls give.
    fn answer<T>(&mut self, result: Result<T, NnHostError>) -> Answer<T> {
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(NnHostError::Guest(code, message)) => Ok(Err(self.table.push(NnErrorHandle { code, message })?)),
            Err(NnHostError::Trap(e)) => Err(e),
        }
    }

    async fn load_graph(&mut self, name: &str) -> Result<Resource<GraphHandle>, NnHostError> {
        if !self.models.contains(name) {
            let message = format!("the model {name} is not among what this guest said it needs ({})", self.model_names());
            return Err(NnHostError::Guest(ErrorCode::Security, message));
        }
        let model = self.shared()?.nn.load(name).await.map_err(|e| NnHostError::Guest(ErrorCode::NotFound, e.to_string()))?;
        Ok(self.table.push(GraphHandle { model })?)
    }

    async fn queue_inference(
        &mut self,
        this: &Resource<ContextHandle>,
        inputs: Vec<(String, Resource<TensorHandle>)>,
    ) -> Result<Vec<(String, Resource<TensorHandle>)>, NnHostError> {
        let model = self.table.get(this)?.model.clone();
        if inputs.len() > MOST_INPUTS {
            return Err(NnHostError::Guest(ErrorCode::InvalidArgument, format!("{} inputs are more than any model has", inputs.len())));
        }
        let mut named = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            let handle = self.table.delete(tensor)?;
            named.push((name, handle.value.map(|booked| Ok(booked.tensor.clone()))));
        }
        // the bytes of outputs are the job's as soon as they are there, whether or not the guest asks for them
        let budget = self.budget.clone();
        let book = move |tensor: Tensor| match budget.try_take(tensor.as_bytes().len() as u64) {
            Ok(lease) => Ok(BookedTensor { tensor, lease }),
            Err(over) => Err(format!("the handles of this job: {over}; drop frames and tensors that are no longer needed")),
        };
        let outputs = self.shared()?.nn.compute_through(&model, named, &self.stages, book).await?;
        let mut result = Vec::with_capacity(outputs.len());
        for (name, value) in outputs {
            self.pace(&value).await;
            result.push((name, self.table.push(TensorHandle { value })?));
        }
        Ok(result)
    }
}

impl graph::Host for JobState {
    async fn load(
        &mut self,
        _builders: Vec<Vec<u8>>,
        _encoding: graph::GraphEncoding,
        _target: graph::ExecutionTarget,
    ) -> Answer<Resource<GraphHandle>> {
        self.touch();
        let message = "models come from the catalog: use load-by-name with a name that the guest's `needs` returned".to_owned();
        self.answer(Err(NnHostError::Guest(ErrorCode::Security, message)))
    }

    async fn load_by_name(&mut self, name: String) -> Answer<Resource<GraphHandle>> {
        self.touch();
        let loaded = self.load_graph(&name).await;
        self.answer(loaded)
    }
}

impl graph::HostGraph for JobState {
    async fn init_execution_context(&mut self, this: Resource<GraphHandle>) -> Answer<Resource<ContextHandle>> {
        self.touch();
        let model = self.table.get(&this)?.model.clone();
        let pushed = self.table.push(ContextHandle { model }).map_err(NnHostError::from);
        self.answer(pushed)
    }
    async fn drop(&mut self, this: Resource<GraphHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl inference::Host for JobState {}

impl inference::HostGraphExecutionContext for JobState {
    async fn compute(
        &mut self,
        this: Resource<ContextHandle>,
        inputs: Vec<(String, Resource<TensorHandle>)>,
    ) -> Answer<Vec<(String, Resource<TensorHandle>)>> {
        self.touch();
        let queued = self.queue_inference(&this, inputs).await;
        self.answer(queued)
    }
    async fn drop(&mut self, this: Resource<ContextHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
